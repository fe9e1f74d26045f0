"""The figures of a run: as a table, or as a line among those of other seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rich.table import Table

from tests.chaos.operators import Deed
from tests.chaos.run import Report, Settings

#: What a line shows, and how wide.
_COLUMNS: Final[Mapping[str, tuple[int, Callable[[Report], int]]]] = {
    "events": (11, lambda report: report.published),
    "rows": (11, lambda report: report.found.rows.total()),
    "kills": (6, lambda report: report.kills),
    "stalls": (7, lambda report: report.stalls),
    "cuts": (6, lambda report: report.cuts),
    "restarts": (9, lambda report: report.server_restarts),
    "losses": (7, lambda report: report.found.losses),
    "rings": (7, lambda report: report.rings),
    "deeds": (6, lambda report: sum(report.happened[deed] for deed in Deed)),
    "cut off": (8, lambda report: report.found.cut),
    "named": (6, lambda report: report.found.doubled_and_named),
    "fenced": (7, lambda report: report.found.fenced),
    "audits": (7, lambda report: report.audits),
    "seconds": (8, lambda report: round(report.seconds)),
    "differences": (12, lambda report: len(report.differences)),
}


def header() -> str:
    """Return the line above those of the seeds."""
    return f"{'seed':>8}" + "".join(f"{name:>{width}}" for name, (width, _) in _COLUMNS.items())


def line(seed: int, report: Report) -> str:
    """Return the figures of a seed."""
    return f"{seed:>8}" + "".join(f"{figure(report):>{width},}" for width, figure in _COLUMNS.values())


def sums(reports: Sequence[Report]) -> str:
    """Return the figures of all seeds together."""
    columns = _COLUMNS.values()
    return f"{'all':>8}" + "".join(f"{sum(map(figure, reports)):>{width},}" for width, figure in columns)


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
        ("times that the server forgot", found.losses),
        ("batches out of the rings", report.rings),
        ("rows cut off by hand", found.cut),
        ("rows twice, and named", found.doubled_and_named),
        ("workers fenced", found.fenced),
        ("batches sent again", f"{report.resent}, {report.duplicates} of them were there"),
        ("audits", report.audits),
        ("rows", found.rows.total()),
        ("files sealed", found.sealed),
        ("rows in recovered/", found.recovered_rows),
        ("dead letters, lost", f"{found.ledger['dead']}, {found.ledger['lost']}"),
        ("most entries waiting", report.max_lag),
        ("seconds until all was committed", round(report.seconds, 1)),
        ("differences", len(report.differences)),
    ):
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table
