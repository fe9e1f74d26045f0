"""Which side of the comparison an entry is on: must its rows stand in the files, may they, or can nobody tell. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import NamedTuple

import msgspec

from worker.audit.deep.spill import Side
from worker.decode import RawEntry, payload_of
from worker.records import id_order
from worker.replay.span import Span
from worker.stream.snapshot import WHOLE_ENTRY, holds

_Order = tuple[int, int]
_INDEXES = b"indexes"

_events = msgspec.json.Decoder(list[msgspec.Raw])


class Written(NamedTuple):
    """What workers had committed at the moment of the audit, of one type."""

    through: str  # the last id that was delivered
    pending: frozenset[bytes]  # ids up to it that were not acknowledged
    letters: Mapping[bytes, AbstractSet[int]]  # by id: events in it that are dead letters (`holds`)


class Sight(NamedTuple):
    """What can be seen of the files of one type."""

    files: Sequence[Span]  # that are here
    gone: Sequence[Span]  # that would have to be looked at too
    is_elsewhere: bool  # others have files of any time


class Entries(NamedTuple):
    """Entries that follow each other, on one side and in one segment of the stream."""

    side: Side
    segment: int
    entries: Sequence[RawEntry]


class Sides:
    """Tells entries of one type apart, page by page.

    Files can expire while they are read. So where each begins and ends, a segment of the stream ends and another
    begins: what a file that is gone had is whole segments.
    """

    def __init__(self, span: Span, written: Written, sight: Sight) -> None:
        self._span = span
        self._written = written
        self._gone = list(sight.gone)
        self._is_elsewhere = sight.is_elsewhere
        self._through = id_order(written.through)
        self._special = written.pending | written.letters.keys()
        edges = {self._after(written.through)}
        for each in (span, *sight.files, *sight.gone):
            edges |= {id_order(each.start), self._after(each.end)}
        self._edges = sorted(edges)

    def split(self, page: Sequence[RawEntry]) -> Iterator[Entries]:
        """Yield a page's entries by side and segment, in their order, without the events that are dead letters."""
        first, last = self._segment(page[0]), self._segment(page[-1])
        if self._special and not self._special.isdisjoint(entry_id for entry_id, _ in page):
            page = list(self._without_letters(page))
        elif first == last:
            yield Entries(self._side(page[0]), first, page)
            return
        for (side, segment), entries in groupby(page, key=lambda entry: (self._side(entry), self._segment(entry))):
            yield Entries(side, segment, list(entries))

    def lose_sight_of(self, file: Span) -> range:
        """Take one of the files for gone from now on; returns the segments in which its rows may be."""
        self._gone.append(file)
        return range(self._segment_of(file.start), self._segment_of(file.end) + 1)

    def _segment(self, entry: RawEntry) -> int:
        return self._segment_of(entry[0].decode())

    def _segment_of(self, entry_id: str) -> int:
        return bisect_right(self._edges, id_order(entry_id))

    def _side(self, entry: RawEntry) -> Side:
        entry_id = entry[0].decode()
        if not self._span.holds(entry_id) or id_order(entry_id) > self._through or entry[0] in self._written.pending:
            return Side.KNOWN
        if self._is_elsewhere or any(each.holds(entry_id) for each in self._gone):
            return Side.ELSEWHERE
        return Side.EXPECTED

    def _without_letters(self, page: Iterable[RawEntry]) -> Iterator[RawEntry]:
        for entry_id, fields in page:
            dead = self._written.letters.get(entry_id)
            if dead is None or fields is None:
                yield entry_id, fields
            elif WHOLE_ENTRY not in dead and (left := _left(payload_of(fields), dead)):
                yield entry_id, left

    @staticmethod
    def _after(entry_id: str) -> _Order:
        milliseconds, sequence = id_order(entry_id)
        return milliseconds, sequence + 1


def indexes_of(fields: Sequence[bytes], count: int) -> Iterable[int]:
    """Return which events of an entry its payload holds: all, but for what `Sides` took out."""
    return map(int, fields[3].split()) if fields[2:3] == [_INDEXES] else range(count)


def _left(payload: bytes, dead: AbstractSet[int]) -> list[bytes]:
    """Return the fields of an entry without some of its events; nothing where none is left."""
    try:
        events = _events.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    left = {index: event for index, event in enumerate(events) if not holds(dead, index)}
    if not left:
        return []
    return [b"events", msgspec.json.encode([*left.values()]), _INDEXES, " ".join(map(str, left)).encode()]
