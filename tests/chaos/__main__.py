"""`python -m tests.chaos`: about two minutes of chaos; exit code 1 and a directory to look into on any difference.

`--seeds 1-20` does one run after the other: a line of figures for each, and their sums.
"""

import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import click
import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.figures import header, line, summary, sums
from tests.chaos.run import Report, Settings, run


def _seeds(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Sequence[int]:
    """Return the seeds that are meant by `7` or `1-20`; one of chance where none is given."""
    if value is None:
        return [secrets.randbelow(10**6)]
    first, dash, last = value.partition("-")
    if not first.isdigit() or bool(dash) != last.isdigit() or int(last or first) < int(first):
        raise click.BadParameter(f"{value!r} is neither a seed such as 7 nor a range such as 1-20")
    return range(int(first), int(last or first) + 1)


@click.command()
@click.option(
    "--seed", "--seeds", "seeds", callback=_seeds, metavar="N[-M]",
    help="What chance decides is decided again the same way; 1-20 for as many runs.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(5), default=105.0, show_default=True, help="Seconds of chaos.")
@click.option("--events", type=click.IntRange(100), default=510_000, show_default=True, help="Events to publish.")
@click.option("--workers", type=click.IntRange(3), default=3, show_default=True, help="Worker processes.")
@click.option(
    "--actions-per-second", type=click.FloatRange(0.1, 5), default=1.4, show_default=True,
    help="Kills, stalls, stops, faults of connections and of the server, taken together.",
)  # fmt: skip
@click.option(
    "--deeds-per-second", type=click.FloatRange(0, 2), default=0.4, show_default=True,
    help="What operators do: servers that forget, clocks, inis, directories and files that are changed.",
)  # fmt: skip
def main(
    seeds: Sequence[int],
    *,
    seconds: float,
    events: int,
    workers: int,
    actions_per_second: float,
    deeds_per_second: float,
) -> None:
    """Kill, stall and cut off workers and server for some minutes, then compare every row."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # also where it was inherited as ignored
    console = Console(highlight=False)
    every = [
        Settings(
            seed=seed,
            seconds=seconds,
            events=events,
            workers=workers,
            actions=int(seconds * actions_per_second),
            deeds=int(seconds * deeds_per_second),
        )
        for seed in seeds
    ]
    if len(every) == 1:
        report = _one(every[0], console)
        if report:
            console.print(summary(every[0], report))
        sys.exit(not (report and not report.differences))
    sys.exit(not _several(every, console))


def _several(every: Sequence[Settings], console: Console) -> bool:
    """Do one run after the other; True where each was without a difference."""
    console.print(header(), soft_wrap=True)
    reports = []
    for settings in every:
        report = _one(settings, console)
        if report:
            reports.append(report)
            console.print(line(settings.seed, report), soft_wrap=True)
    passed = sum(not report.differences for report in reports)
    console.print(sums(reports), soft_wrap=True)
    console.print(
        f"{passed} of {len(every)} runs without a difference", style="green" if passed == len(every) else "red"
    )
    return passed == len(every)


def _one(settings: Settings, console: Console) -> Report | None:
    """Do a run and tell what differs; None where it was not finished. Its files stay only where something is wrong."""
    home = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        report = _watched(settings, home, console)
    except BaseException as error:
        console.print(f"seed {settings.seed} was not finished: {error!r}; its files are in {home}", soft_wrap=True)
        if isinstance(error, (AssertionError, OSError, redis.RedisError)):
            return None
        raise
    for difference in report.differences:
        console.print(difference, style="red", markup=False, soft_wrap=True)
    if report.differences:
        console.print(f"seed {settings.seed}: {len(report.differences)} differences; see {home}", soft_wrap=True)
    else:
        shutil.rmtree(home)
    return report


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watched(settings: Settings, home: Path, console: Console) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
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


if __name__ == "__main__":
    main()
