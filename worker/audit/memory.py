"""What a directory knows of itself against what the server knows of it. Pure.

The journals were read before the snapshot, and a journal never knows of a commit before the server does. So where one
is ahead, the server has forgotten.
"""

from collections.abc import Iterator

from schemas.events import TYPES
from worker.audit.directory import View
from worker.audit.finding import Finding, Kind
from worker.records import Record
from worker.stream.snapshot import Snapshot


def committed(snapshot: Snapshot, view: View, event_type: str) -> int:
    """Return how many rows of a type were committed in a directory, by the ledger or by those who wrote them."""
    return max(_counted(snapshot, view, event_type), _written(snapshot, view, event_type))


def has_forgotten(snapshot: Snapshot, view: View) -> bool:
    """Tell whether the server knows less of a directory than its journals."""
    return any(True for _ in _behind(snapshot, view))


def findings(snapshot: Snapshot, view: View) -> Iterator[Finding]:
    """Yield where they differ."""
    for consumer, mine, known in _behind(snapshot, view):
        count = sum(mine.total.values()) - sum(known.total.values())
        yield Finding(
            kind=Kind.FORGOTTEN, directory=view.id, consumer=consumer, count=count,
            text=f"{view.path}: the server knows {known.batch:,} commits of {consumer}, its journal {mine.batch:,}: "
            f"the server has forgotten {count:,} rows. The next worker that starts here puts back what it knows",
        )  # fmt: skip
    for event_type in TYPES:
        counted, written = _counted(snapshot, view, event_type), _written(snapshot, view, event_type)
        if counted < written:
            yield Finding(
                kind=Kind.FORGOTTEN, directory=view.id, type=event_type, count=written - counted,
                text=f"{view.path}: the ledger counts {counted:,} {event_type} rows, who wrote them {written:,}",
            )  # fmt: skip
    yield from _superseded(snapshot, view)
    for place in view.missing_mounts:
        yield Finding(
            kind=Kind.MOUNT, directory=view.id, file=str(place),
            text=f"{place}: was on a volume of its own, which is not mounted: its files are not looked at",
        )  # fmt: skip


def _superseded(snapshot: Snapshot, view: View) -> Iterator[Finding]:
    last, mine = snapshot.tokens.get(view.id), view.identity
    if last is None or mine is None or f"{last.number} {last.random}" in {str(mine.current), str(mine.next)}:
        return
    if last.number >= mine.current.number:
        yield Finding(
            kind=Kind.SUPERSEDED, directory=view.id,
            text=f"{view.path}: another copy of the directory {view.id} was started since, on {last.host} at "
            f"{last.path}: `haraka-accounting directory show` tells more",
        )  # fmt: skip


def _behind(snapshot: Snapshot, view: View) -> Iterator[tuple[str, Record, Record]]:
    for consumer, mine in view.journals.items():
        known = snapshot.records.get((consumer, view.id), Record())
        if known.batch < mine.batch:
            yield consumer, mine, known


def _counted(snapshot: Snapshot, view: View, event_type: str) -> int:
    return snapshot.ledger.get(f"{event_type}:rows:{view.id}", 0)


def _written(snapshot: Snapshot, view: View, event_type: str) -> int:
    """Return the rows that all consumers of a directory ever wrote. Early versions did not count them."""
    known = {consumer: record for (consumer, of), record in snapshot.records.items() if of == view.id}
    return sum(
        max(each.get(consumer, Record()).total.get(event_type, 0) for each in (known, view.journals))
        for consumer in known.keys() | view.journals.keys()
    )
