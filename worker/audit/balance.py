"""The balance of a partition: per type, what came is what went somewhere, or still waits. Pure.

    published + replayed + foreign = events + dead letters + retried + dropped + lost + pending + unread

Every term is read from where it really is (`worker.stream.snapshot`), so each side can be wrong without the other.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from schemas.events import TYPES
from worker.audit.finding import Finding, Kind
from worker.stream.snapshot import Snapshot, StreamState

#: What came, and what was counted as gone somewhere, by the ledger's own counters.
_CAME = ("published", "replayed", "foreign")
_COUNTED = ("events", "retried", "dropped", "lost")


class Balance(Struct, frozen=True, kw_only=True):
    """Both sides of a type's equation, in events."""

    type: str
    came: Mapping[str, int]
    went: Mapping[str, int]
    difference: int  # what came and went nowhere; below zero: more went than came


def balance(snapshot: Snapshot, event_type: str) -> Balance:
    """Return the balance of a type."""
    ledger, stream = snapshot.ledger, snapshot.streams[event_type]
    came = {name: ledger.get(f"{event_type}:{name}", 0) for name in _CAME}
    went = {name: ledger.get(f"{event_type}:{name}", 0) for name in _COUNTED}
    went["dead letters"] = snapshot.letters[event_type].events
    went["pending"] = sum(entry.events or 0 for entry in stream.pending)
    went["unread"] = stream.unread_events
    return Balance(type=event_type, came=came, went=went, difference=sum(came.values()) - sum(went.values()))


def findings(snapshot: Snapshot, balances: Mapping[str, Balance], known_lost: int) -> Iterator[Finding]:
    """Yield what does not add up on the server. `known_lost` events may be lost without being one."""
    for event_type, each in balances.items():
        if each.difference:
            yield Finding(
                kind=Kind.EVENTS, type=event_type, count=each.difference,
                text=f"{event_type}: {_what_differs(each.difference)}: "
                f"{_suggestion(each.difference, snapshot.streams[event_type])}",
            )  # fmt: skip
        yield from _letters_differ(snapshot, event_type)
        yield from _rows_differ(snapshot, event_type)
    lost = {name: sum(snapshot.ledger.get(f"{kind}:{name}", 0) for kind in TYPES) for name in ("lost", "gap")}
    if sum(lost.values()) > known_lost:
        yield Finding(
            kind=Kind.LOST, count=sum(lost.values()),
            text=f"{lost['lost']:,} events were trimmed before they were read, {lost['gap']:,} were given up by "
            f"Haraka's nodes after the server had lost them; {known_lost:,} of them are known (--known-lost)",
        )  # fmt: skip


def _what_differs(difference: int) -> str:
    if difference > 0:
        return f"{difference:,} events came and went nowhere"
    return f"{-difference:,} events more went somewhere than came"


def _suggestion(difference: int, stream: StreamState) -> str:
    """Name what a difference suggests."""
    if difference < 0:
        return "the server lost what it had counted, or the group was put back by hand"
    if gone := [entry.id for entry in stream.pending if entry.events is None]:
        return f"{len(gone)} pending entries were trimmed or deleted, such as {gone[0]}"
    if stream.hole and stream.delivered and stream.first_unread:
        between = f"{stream.delivered.id} and {stream.first_unread.id}"
        return f"{stream.hole:,} were trimmed or deleted unread between {between}"
    return "entries were trimmed or deleted before they were read, or the server lost commits"


def _letters_differ(snapshot: Snapshot, event_type: str) -> Iterator[Finding]:
    made, retried, dropped = (snapshot.ledger.get(f"{event_type}:{name}", 0) for name in ("dead", "retried", "dropped"))
    held = snapshot.letters[event_type].events
    difference = made - held - retried - dropped
    if difference:
        what = "removed without `dead drop`" if difference > 0 else "added by hand"
        yield Finding(
            kind=Kind.LETTERS, type=event_type, count=difference,
            text=f"{event_type}: {made:,} events became dead letters, {held:,} stand there, "
            f"{retried:,} were retried, {dropped:,} dropped: {abs(difference):,} were {what}",
        )  # fmt: skip


def _rows_differ(snapshot: Snapshot, event_type: str) -> Iterator[Finding]:
    """Compare the rows of all directories with those of the type: both were counted by the same commits."""
    prefix = f"{event_type}:rows:"
    total = snapshot.ledger.get(f"{event_type}:rows", 0)
    by_directory = sum(rows for name, rows in snapshot.ledger.items() if name.startswith(prefix))
    if total != by_directory:
        yield Finding(
            kind=Kind.ROWS, type=event_type, count=total - by_directory,
            text=f"{event_type}: {total:,} rows were committed, {by_directory:,} in all directories together: "
            "somebody changed the ledger",
        )  # fmt: skip
