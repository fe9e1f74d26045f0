"""A partition at one moment, for the audit: every term read from where it really is, by one script.

Reads only. The script reads entries up to a number of bytes, since nobody else is served meanwhile. What goes beyond
is read after it: pending entries, which do not change, some at a time; unread ones are told by their running numbers
alone. Dead letters can be large, so they are read after the script too, up to the last one that it saw. Where some of
either left meanwhile, the whole snapshot is taken again.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct, field

from schemas.events import TYPES
from worker import records
from worker.decode import RawEntry
from worker.errors import StreamUnavailable
from worker.fields import shown
from worker.records import Record
from worker.stream.directories import Claimed, claims
from worker.stream.keys import GROUP, PLACEHOLDER, Keys
from worker.stream.link import Connector, Link
from worker.stream.ranges import Edge, number_of
from worker.stream.script import Script

_PAGE, _NOTES = 50, 5_000  # letters at once, which can be large, and notes on such as left
_IDS = 1_000  # of pending entries at once
_TRIES = 20
_READ_BYTES = 32_000_000  # of entries that one script may read: some 20 ms of the server's time
_MOST_DIGITS = 18  # of a counter
_UNREADABLE_AT_MOST = 100
_SHOWN_BYTES = 40  # of a value that is no count
WHOLE_ENTRY = -1  # instead of the index of an event
_UNKNOWN, _GONE = -2, -1  # instead of the events of an entry

_snapshot, _numbers = Script("snapshot"), Script("numbers")


class Pending(Struct, frozen=True):
    """An entry that was delivered and is not acknowledged."""

    id: str
    events: int | None  # by its own `n`; None: it is not in the stream any more


class StreamState(Struct, frozen=True, kw_only=True):
    """One stream and its consumer group. Edges are entries with a running number; those added by hand have none."""

    last_delivered: str  # id
    pending: Sequence[Pending]
    delivered: Edge | None  # the last delivered entry; None where it is not there any more
    first_unread: Edge | None
    last_unread: Edge | None
    counted: int | None  # events of the unread entries one by one, where the running numbers may have holes
    newest: Edge | None = None  # the last entry there ever was; None where that was trimmed or deleted

    @property
    def unread_events(self) -> int:
        """Return how many events nobody has read, by running numbers or one by one."""
        if self.counted is not None:
            return self.counted
        if self.first_unread is None or self.last_unread is None:
            return 0
        return self.last_unread.at - self.first_unread.at + self.first_unread.n

    @property
    def hole(self) -> int:
        """Return how many events are missing between the last delivered entry and the first unread one."""
        if self.delivered is None or self.first_unread is None:
            return 0
        return max(0, self.first_unread.at - self.first_unread.n - self.delivered.at)


#: By entry: which events of it; -1: the whole entry; below that, -2 - i: all from the i-th one on.
Indexes = dict[bytes, set[int]]


class Letters(Struct):
    """The dead letters of a type that stand in their stream."""

    events: int = 0  # by each letter's own `n`
    indexes: Indexes = field(default_factory=dict)


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything that an audit asks of the server."""

    ledger: Mapping[str, int]
    records: Mapping[tuple[str, str], Record]  # by consumer and directory id
    letters: Mapping[str, Letters]  # by type
    streams: Mapping[str, StreamState]
    last_note: bytes  # id of the last note on a dead letter that left
    tokens: Mapping[str, Claimed] = {}  # by directory id: its last start
    late: Sequence[str] = ()  # who handed its rows in too late: `<history> <consumer> <directory>`
    unreadable: Sequence[str] = ()  # fields that do not hold what workers write there

    def records_of(self, directory_id: str) -> list[Record]:
        """Return the commit records of a directory."""
        return [record for (_, of), record in self.records.items() if of == directory_id]


class Snapshots:
    """Takes snapshots on an open connection."""

    def __init__(self, link: Link, keys: Keys, read_bytes: int) -> None:
        self._link = link
        self._keys = keys
        self._read_bytes = read_bytes

    def take(self) -> Snapshot:
        """Return the partition as it stands now. Raises StreamUnavailable."""
        for _ in range(_TRIES):
            ledger, stored, last_letter, last_note, starts, late, *facts = self._take()
            unreadable: list[str] = []
            counters = _counters(ledger, unreadable)
            streams = {name: self._stream(name, each) for name, each in zip(TYPES, facts, strict=True)}
            letters = self._letters(last_letter)
            if None not in streams.values() and self._left() == [counters.get(name, 0) for name in _left_names()]:
                return Snapshot(
                    ledger=counters,
                    records=dict(_records(stored, unreadable)),
                    letters=letters,
                    streams={name: stream for name, stream in streams.items() if stream},
                    last_note=last_note,
                    tokens=claims(starts),
                    late=sorted(name.decode("utf-8", "replace").removeprefix("late:") for name in late),
                    unreadable=unreadable,
                )
        raise StreamUnavailable("dead letters and pending entries leave faster than they can be read: audit later")

    def settled(self, snapshot: Snapshot) -> Mapping[str, Indexes]:
        """Return, by type, the events whose dead letters had been retried or dropped at a snapshot's moment."""
        found: dict[str, Indexes] = {name: {} for name in TYPES}
        for note in self._all(self._keys.settled, snapshot.last_note, _NOTES):
            _add_to(found, note)
        return found

    def _take(self) -> Any:  # noqa: ANN401 - a reply
        keys = self._keys
        others = (keys.ledger, keys.records, keys.dead, keys.settled, keys.directories, keys.watch)
        asked = (*others, *keys.streams.values())
        return self._link.call("EVALSHA", _snapshot.sha, len(asked), *asked, GROUP, self._read_bytes)

    def _stream(self, event_type: str, facts: Sequence[Any]) -> StreamState | None:
        """Return the state of a stream, None where pending entries were acknowledged and trimmed meanwhile."""
        last_delivered, listed, delivered, first, last, counted, newest = facts
        pending = self._pending(self._keys.streams[event_type], listed)
        if pending is None:
            return None
        return StreamState(
            last_delivered=last_delivered.decode(),
            pending=pending,
            delivered=_edge(delivered),
            first_unread=_edge(first),
            last_unread=_edge(last),
            counted=counted,
            newest=_edge(newest),
        )

    def _pending(self, key: str, listed: Sequence[tuple[bytes, int]]) -> list[Pending] | None:
        """Return pending entries with their events, after reading what the script did not; None likewise."""
        events = dict(listed)
        unknown = [entry_id for entry_id, n in listed if n == _UNKNOWN]
        while unknown:
            asked = unknown[:_IDS]
            found = self._link.call("EVALSHA", _numbers.sha, 1, key, self._read_bytes, *asked)
            for entry_id, n in zip(asked, found, strict=False):
                if n == _GONE and not self._link.call("XPENDING", key, GROUP, entry_id, entry_id, 1):
                    return None
                events[entry_id] = n
            unknown = unknown[len(found) :]
        return [Pending(entry_id.decode(), None if n == _GONE else n) for entry_id, n in events.items()]

    def _letters(self, last: bytes) -> dict[str, Letters]:
        """Return the dead letters up to one, by type; what somebody added under another type is none of ours."""
        found = {name: Letters() for name in TYPES}
        indexes = {name: letters.indexes for name, letters in found.items()}
        for letter in self._all(self._keys.dead, last, _PAGE):
            if event_type := _add_to(indexes, letter):
                found[event_type].events += number_of(letter, b"n") or 1
        return found

    def _all(self, key: str, last: bytes, page_entries: int) -> Iterator[RawEntry]:
        """Yield the entries of a stream up to one."""
        start = "-"
        while last and (page := self._link.call("XRANGE", key, start, last, "COUNT", page_entries)):
            yield from page
            start = f"({page[-1][0].decode()}"

    def _left(self) -> list[int]:
        return [_count(value) or 0 for value in self._link.call("HMGET", self._keys.ledger, *_left_names())]


@contextmanager
def snapshots(connect: Connector, partition: str, read_bytes: int = _READ_BYTES) -> Iterator[Snapshots]:
    """Yield what takes snapshots of a partition, over a connection of its own.

    `read_bytes` bound what one script reads of the entries.
    """
    link = Link(connect)
    link.open()
    try:
        for script in (_snapshot, _numbers):
            link.call("SCRIPT", "LOAD", script.source)
        yield Snapshots(link, Keys.of(partition), read_bytes)
    finally:
        link.close()


def _left_names() -> list[str]:
    """Return the counters that grow when a dead letter leaves its stream."""
    return [f"{event_type}:{counter}" for event_type in TYPES for counter in ("retried", "dropped")]


def _add_to(indexes: Mapping[str, Indexes], letter: RawEntry) -> str | None:
    """Add the event that a dead letter, or a note on one, is of; returns the type, None where it is none of ours."""
    fields = dict(zip((letter[1] or ())[::2], (letter[1] or ())[1::2], strict=False))
    event_type = fields.get(b"type", b"").decode("utf-8", "replace")
    if event_type not in indexes:
        return None
    indexes[event_type].setdefault(fields.get(b"id", b""), set()).add(_index(fields))
    return event_type


def _index(fields: Mapping[bytes, bytes]) -> int:
    """Return which event of its entry a letter is of: one that stands for several is the last of its entry."""
    value = fields.get(b"index", b"")
    if not (value.isdigit() and len(value) <= 9):
        return WHOLE_ENTRY
    return int(value) if fields.get(b"n", b"1") == b"1" else WHOLE_ENTRY - 1 - int(value)


def holds(indexes: AbstractSet[int], index: int) -> bool:
    """Tell whether an event of an entry is among those of its dead letters."""
    return index in indexes or any(index >= WHOLE_ENTRY - 1 - each for each in indexes if each < WHOLE_ENTRY)


def _counters(reply: Sequence[bytes], unreadable: list[str]) -> dict[str, int]:
    found = {}
    for name, value in _fields(reply):
        count = _count(value)
        if count is not None:
            found[name] = count
        elif name != PLACEHOLDER:
            _note(unreadable, f"{shown(name)} in the ledger is no count: {value[:_SHOWN_BYTES]!r}")
    return found


def _note(unreadable: list[str], text: str) -> None:
    """Note what cannot be read; so many of them, since somebody else wrote it."""
    if len(unreadable) < _UNREADABLE_AT_MOST:
        unreadable.append(text)


def _count(value: bytes | None) -> int | None:
    """Return a counter of the ledger, None for what cannot be one."""
    return int(value) if value and value.isdigit() and len(value) <= _MOST_DIGITS else None


def _records(reply: Sequence[bytes], unreadable: list[str]) -> Iterator[tuple[tuple[str, str], Record]]:
    for name, value in _fields(reply):
        consumer, _, directory = name.rpartition(" ")
        try:
            record = records.decode(value)
        except msgspec.MsgspecError as error:
            if name != PLACEHOLDER:
                _note(unreadable, f"the record of {shown(name)} cannot be read: {error}")
            continue
        if record is not None:
            yield (consumer, directory), record


def _fields(reply: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    for name, value in zip(reply[::2], reply[1::2], strict=True):
        yield name.decode("utf-8", "replace"), value


def _edge(found: Any) -> Edge | None:  # noqa: ANN401 - a reply
    return Edge(found[0].decode(), found[1], found[2]) if found else None
