"""`make demo`: real mail through a real Haraka into accounting files, compared with what its destination answered.

It exits with 0 where both agree. Ctrl-C stops everything that it started.
"""

import argparse
import fcntl
import os
import shutil
import signal
import smtplib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from haraka.demo import report
from haraka.demo.accounting import COLUMNS, counter, manifest_of, rows_of
from haraka.demo.lab import Lab, Setup
from haraka.demo.messages import Message, demo_messages
from haraka.demo.process import ProcessDiedError
from haraka.demo.waiting import WaitTimeoutError, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS: Final = 180.0
LOOK_EVERY: Final = 10  # messages
INTERRUPTED: Final = 130
SETUP: Final = Setup(
    retry_seconds=(5, 5),
    columns=f"{COLUMNS},custom_X-Campaign",
    accounting_files={"archiving": "true", "archive_interval": 3600, "max_size": 0.05},
    binds={"amber.test": "127.0.0.2"},
)


def main() -> int:
    """Run the demo; return its exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another seed, another mix of mail")
    parser.add_argument("--directory", type=Path, default=ROOT / ".demo", help="everything is written here")
    options = parser.parse_args()
    console = Console(highlight=False)
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background job inherits it as ignored
        signal.signal(number, signal.default_int_handler)
    try:
        with _work_directory(options.directory) as directory:
            return _run(console, directory, demo_messages(options.seed))
    except KeyboardInterrupt:
        console.print("\n[yellow]Interrupted; everything is stopped.")
        return INTERRUPTED
    except (ProcessDiedError, WaitTimeoutError, BlockingIOError, OSError, smtplib.SMTPException) as error:
        console.print("[bold red]The demo failed:", escape(str(error)), soft_wrap=True)
        return 1


@contextmanager
def _work_directory(directory: Path) -> Iterator[Path]:
    """Give an empty directory, what the last demo left being removed; refuse while another demo runs in it."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"another demo runs in {directory}") from None
        for entry in directory.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        yield directory
    finally:
        os.close(descriptor)


def _run(console: Console, directory: Path, messages: tuple[Message, ...]) -> int:
    started = time.monotonic()
    console.print(_headline(messages))
    with console.status("Starting Valkey, a worker, an SMTP sink and Haraka …") as status, Lab(directory, SETUP) as lab:
        status.stop()
        _announce(console, lab, directory)
        _deliver(console, lab, messages)
    comparison = report.compare(lab.expectation(), counter(lab.worker.rows()))
    _show(console, lab, comparison)
    seconds = time.monotonic() - started
    if comparison.agrees:
        console.print(f"[bold green]The files hold exactly what the sink answered.[/] {seconds:.0f} s")
        return 0
    console.print(report.difference_table(comparison))
    console.print(f"[bold red]The files differ from what the sink answered.[/] The logs are in {directory}")
    return 1


def _headline(messages: tuple[Message, ...]) -> Panel:
    recipients = sum(len(message.rcpts) for message in messages)
    return Panel(
        f"{len(messages)} messages to {recipients} recipients: accepted, deferred, bounced, refused.\n"
        "Haraka ─▶ plugin ─▶ Valkey streams ─▶ worker ─▶ accounting files ─▶ archive",
        title="[bold]haraka-accounting",
        border_style="cyan",
        expand=False,
    )


def _announce(console: Console, lab: Lab, directory: Path) -> None:
    for what, where in (
        ("Valkey (bundled) and a worker", f"redis://127.0.0.1:{lab.worker.settings.redis_port}/0"),
        ("SMTP sink, answering by script", f"127.0.0.1:{lab.sink.port}"),
        ("Haraka with the plugin", f"127.0.0.1:{lab.haraka.settings.smtp_port}"),
        ("Everything is written to", str(directory)),
    ):
        console.print(f"[green]✓[/] {what:32} [dim]{where}")


def _deliver(console: Console, lab: Lab, messages: tuple[Message, ...]) -> None:
    """Send all, and wait until every answer has its row, showing how far it is."""
    recipients = sum(len(message.rcpts) for message in messages)
    columns = (SpinnerColumn(), TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        sent = progress.add_task("Messages sent", total=len(messages))
        settled = progress.add_task("Recipients with a last answer", total=recipients)
        rows = progress.add_task("Rows in the files", total=recipients)

        def look() -> None:
            due = lab.expectation()
            progress.update(settled, completed=recipients - len(due.unsettled))
            progress.update(rows, completed=lab.worker.count_rows(), total=max(recipients, len(due.rows)))

        def on_sent(_: Message) -> None:
            progress.advance(sent)
            if progress.tasks[sent].completed % LOOK_EVERY == 0:
                look()

        def is_done() -> bool:
            look()
            return lab.is_done()

        lab.send(messages, on_sent)
        wait_until(is_done, "the last rows", PATIENCE_SECONDS)
        lab.finish()
        look()


def _show(console: Console, lab: Lab, comparison: report.Comparison) -> None:
    console.print()
    console.print(report.comparison_table(comparison))
    files, root = lab.worker.files(), lab.worker.settings.path
    for tag in ("d", "df", "b"):
        first = next((file for file in files if file.name.startswith(f"{tag}.")), None)
        if first is not None:
            console.print(report.rows_table(list(islice(rows_of(first), 3)), str(first.relative_to(root))))
    console.print(report.archive_table({file: manifest_of(file) for file in files}, root))


if __name__ == "__main__":
    sys.exit(main())
