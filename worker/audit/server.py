"""What the server alone tells to be wrong, beside its balance: strange values, copied entries, hidden rows. Pure."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from schemas.events import TYPES
from worker.audit.finding import Finding, Kind
from worker.stream.snapshot import Snapshot


def findings(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what is wrong whatever stands in the files."""
    for what in snapshot.unreadable:
        yield Finding(kind=Kind.UNREADABLE, text=f"{what}: workers did not write that")
    for late in snapshot.late:
        _, consumer, directory = (*late.split(" ", 2), "", "")[:3]
        yield Finding(
            kind=Kind.LATE, consumer=consumer, directory=directory, entry=late.partition(" ")[0],
            text=f"{consumer} of directory {directory} had not told what it has written when reading went on, after "
            "the server had forgotten: rows may stand twice, which `audit --deep` finds",
        )  # fmt: skip
    for event_type in TYPES:
        yield from _order(snapshot, event_type)


def _order(snapshot: Snapshot, event_type: str) -> Iterator[Finding]:
    """Compare the last entry's running number with that of the last event that was published."""
    newest, published = snapshot.streams[event_type].newest, snapshot.ledger.get(f"{event_type}:published", 0)
    if newest and newest.at != published:
        yield Finding(
            kind=Kind.ORDER, type=event_type, entry=newest.id, count=published - newest.at,
            text=f"{event_type}: the last entry, {newest.id}, has the running number {newest.at:,}, and {published:,} "
            "events were published: entries were copied by hand, or the ledger was changed",
        )  # fmt: skip


def elsewhere(snapshot: Snapshot, here: AbstractSet[str]) -> dict[str, dict[str, int]]:
    """Return the rows that were committed in other directories, by directory id and type."""
    found: dict[str, dict[str, int]] = {}
    for name, rows in snapshot.ledger.items():
        event_type, _, directory = name.partition(":rows:")
        if directory and directory not in here and rows:
            found.setdefault(directory, {})[event_type] = rows
    totals: dict[str, dict[str, int]] = {}  # where somebody removed the counters
    for (_, directory), record in snapshot.records.items():
        for event_type, rows in record.total.items() if directory not in here else ():
            of_directory = totals.setdefault(directory, {})
            of_directory[event_type] = of_directory.get(event_type, 0) + rows
    return totals | found


def unseen(snapshot: Snapshot, hidden: Mapping[str, Mapping[str, int]], known: AbstractSet[str]) -> Iterator[Finding]:
    """Yield the directories that have rows and cannot be seen, but for those that are audited elsewhere."""
    for directory in sorted(hidden.keys() - known):
        last = snapshot.tokens.get(directory)
        where = f", started last on {last.host} at {last.path}" if last else ""
        yield Finding(
            kind=Kind.UNSEEN, directory=directory,
            text=f"{sum(hidden[directory].values()):,} rows were committed in the directory {directory}{where}: it is "
            f"not here. Name it with --directory, or with --elsewhere {directory} where it is audited on its own host",
        )  # fmt: skip
