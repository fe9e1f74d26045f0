"""`python -m tests.chaos`: about three minutes of chaos; exit code 1 and a directory to look into on any difference."""

import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.run import Report, Settings, run

_ACTIONS_PER_SECOND = 1.0


@click.command()
@click.option("--seed", type=int, default=None, help="What chance decides is decided again the same way.")
@click.option("--seconds", type=click.FloatRange(5), default=150.0, show_default=True, help="Seconds of chaos.")
@click.option("--events", type=click.IntRange(100), default=540_000, show_default=True, help="Events to publish.")
@click.option("--workers", type=click.IntRange(3), default=3, show_default=True, help="Worker processes.")
def main(seed: int | None, seconds: float, events: int, workers: int) -> None:
    """Kill, stall and cut off workers and server for some minutes, then compare every row."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # also where it was inherited as ignored
    console = Console()
    settings = Settings(
        seed=secrets.randbelow(10**6) if seed is None else seed, seconds=seconds, events=events, workers=workers,
        actions=int(seconds * _ACTIONS_PER_SECOND),
    )  # fmt: skip
    home = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        report = _run(settings, home, console)
    except BaseException:
        console.print(f"seed {settings.seed} was not finished; its files are in {home}", soft_wrap=True)
        raise
    console.print(summary(settings, report))
    if report.differences:
        for difference in report.differences:
            console.print(difference, style="red", markup=False, soft_wrap=True)
        console.print(f"{len(report.differences)} differences; see {home}", style="bold red", soft_wrap=True)
        sys.exit(1)
    console.print("Every row stands exactly once.", style="green")
    shutil.rmtree(home)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(settings: Settings, home: Path, console: Console) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"seed {settings.seed}", total=settings.events)
        return run(settings, home, _showing(progress, task, settings.seed))


def _showing(progress: Progress, task: int, seed: int) -> Callable[[Report], None]:
    def show(report: Report) -> None:
        text = (
            f"seed {seed}: {report.kills} kills, {report.stalls} stalls, {report.cuts} cuts, "
            f"{report.server_restarts} server restarts, lag {report.lag}"
        )
        progress.update(progress.task_ids[task], completed=report.published, description=text)

    return show


def summary(settings: Settings, report: Report) -> Table:
    """Return the figures of a run."""
    table = Table(title=f"Chaos run, seed {settings.seed}", title_justify="left", show_header=False)
    happened = sorted((name, count) for name, count in report.happened.items())
    found = report.found
    for name, value in (
        ("workers", settings.workers),
        ("events", report.published),
        ("events a second", round(report.published / report.seconds)),
        ("kills", report.kills),
        ("stalls", report.stalls),
        ("cuts", report.cuts),
        ("server restarts", report.server_restarts),
        ("everything that happened", ", ".join(f"{count} {name}" for name, count in happened)),
        ("workers fenced", found.fenced),
        ("batches sent again", f"{report.resent}, {report.duplicates} of them were there"),
        ("audits", report.audits),
        ("rows", found.rows.total()),
        ("files sealed", found.sealed),
        ("rows in recovered/", found.recovered_rows),
        ("dead letters, lost", f"{found.ledger['dead']}, {found.ledger['lost']}"),
        ("most entries waiting", report.max_lag),
        ("seconds until all was committed", round(report.seconds, 1)),
    ):
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table


if __name__ == "__main__":
    main()
