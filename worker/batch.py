"""A batch: the entries that were read at once, rendered and ready to be appended and committed.

Pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import msgspec

from worker.decode import DeadLetter, Decoded, Decoder, RawEntry
from worker.event_keys import keys_of
from worker.numbers import numbers_of, run_on
from worker.records import FileState, id_order
from worker.rows import Rows
from worker.settings import RowSettings

_SLICE = 256
_time_logged = attrgetter("time_logged")


class Part(NamedTuple):
    """What one stream's entries of a batch became: the rows to append, and what the commit acknowledges and counts."""

    rows: bytes
    ids: Sequence[bytes]  # of every entry, the bad and the lost ones included
    row_count: int
    event_count: int
    size: int  # bytes of JSON
    dead: Sequence[DeadLetter]
    lost: Sequence[bytes]  # ids of entries that somebody deleted
    first_id: str | None
    last_id: str | None
    first_time_ms: int | None
    last_time_ms: int | None
    foreign: int = 0  # of the events, good or dead: in entries that were never counted as published
    event_ids: str = ""  # of the first event of each entry with rows here, separated by blanks

    @property
    def dead_count(self) -> int:
        """Return how many events the dead letters stand for."""
        return sum(letter.n for letter in self.dead)

    def advance(self, state: FileState, sha256: str | None = None) -> FileState:
        """Return the state of a file that these rows were appended to; `sha256` is of all that it holds then."""
        if not self.row_count:
            return state
        times = (self.first_time_ms, self.last_time_ms, state.first_time_ms, state.last_time_ms)
        known = [time for time in times if time is not None]
        # What was taken over from the dead is older than what came before it.
        ids = [each for each in (state.first_id, state.last_id, self.first_id, self.last_id) if each is not None]
        return msgspec.structs.replace(
            state,
            length=state.length + len(self.rows),
            rows=state.rows + self.row_count,
            first_id=min(ids, key=id_order),
            last_id=max(ids, key=id_order),
            first_time_ms=min(known),
            last_time_ms=max(known),
            sha256=sha256,
        )


class Batch(NamedTuple):
    """The parts of a batch by type."""

    parts: Mapping[str, Part]
    pending: bool  # read from the own pending entries: nothing new may be read before it is committed
    entries: Mapping[str, Sequence[RawEntry]] = {}  # what it was made of; kept only where that was asked for

    def through(self, before: Mapping[str, str]) -> dict[str, str]:
        """Return, by type, the highest stream id that is acknowledged once this batch is."""
        through = dict(before)
        for event_type, part in self.parts.items():
            last = part.ids[-1].decode("ascii")
            if event_type not in through or id_order(last) > id_order(through[event_type]):
                through[event_type] = last
        return through


class Texts(NamedTuple):
    """Rows as text."""

    rows: list[str]  # without their line breaks
    is_whole: bool  # every event has its rows


def slices(entries: Sequence[RawEntry]) -> Iterator[Sequence[RawEntry]]:
    """Yield entries a few at a time.

    So the decoded events of one slice are gone, and their memory is still in the processor's cache, when the next slice
    needs some.
    """
    for start in range(0, len(entries), _SLICE):
        yield entries[start : start + _SLICE]


class TypeRenderer:
    """Makes the parts of one type: decodes entries and renders their rows, a slice at a time."""

    def __init__(
        self, event_type: str, settings: RowSettings, narrow: Callable[[Decoded], Decoded] | None = None
    ) -> None:
        """Take what a part is made with; `narrow` takes out of the decoded events what is not wanted."""
        self.rows = Rows(event_type, settings)
        decode = Decoder(event_type, settings.columns[event_type]).decode
        self._decode = (lambda entries: narrow(decode(entries))) if narrow else decode

    def part(self, entries: Sequence[RawEntry]) -> Part:
        """Return what a batch's entries of this type become."""
        parts = [self._slice(some) for some in slices(entries)]
        return parts[0] if len(parts) == 1 else _join(parts)

    def lines(self, entries: Sequence[RawEntry]) -> Texts:
        """Return the rows of a slice of entries, for who wants nothing else of them."""
        decoded = self._decode(entries)
        return Texts(self.rows.lines(decoded.ids, decoded.events, suspect=decoded.suspect), not decoded.dead)

    def _slice(self, entries: Sequence[RawEntry]) -> Part:
        decoded = self._decode(entries)
        rows, row_count = self.rows.render(decoded.ids, decoded.events, suspect=decoded.suspect)
        times = list(map(_time_logged, chain.from_iterable(decoded.events)))
        return Part(
            rows=rows,
            ids=decoded.ids if len(decoded.ids) == len(entries) else [entry_id for entry_id, _ in entries],
            row_count=row_count,
            event_count=len(times),
            size=decoded.size,
            dead=decoded.dead,
            lost=decoded.lost,
            first_id=decoded.ids[0].decode("ascii") if times else None,
            last_id=decoded.ids[-1].decode("ascii") if times else None,
            first_time_ms=min(times, default=None),
            last_time_ms=max(times, default=None),
            foreign=_foreign(entries, decoded, len(times)),
            event_ids=decoded.event_ids,
        )


def _foreign(entries: Sequence[RawEntry], decoded: Decoded, good: int) -> int:
    """Count the events, good or dead, of entries that were not published; mostly two entries tell that all were."""
    if run_on(entries, good + sum(letter.n for letter in decoded.dead)):
        return 0
    strangers = {entry_id for entry_id, fields in entries if fields is not None and numbers_of(fields) is None}
    held = sum(
        len(events) for entry_id, events in zip(decoded.ids, decoded.events, strict=True) if entry_id in strangers
    )
    return held + sum(letter.n for letter in decoded.dead if letter.entry_id in strangers)


def _join(parts: Sequence[Part]) -> Part:
    """Make one part of several that follow each other."""
    with_rows = [part for part in parts if part.row_count]
    return Part(
        rows=b"".join(part.rows for part in parts),
        ids=[entry_id for part in parts for entry_id in part.ids],
        row_count=sum(part.row_count for part in parts),
        event_count=sum(part.event_count for part in parts),
        size=sum(part.size for part in parts),
        dead=[letter for part in parts for letter in part.dead],
        lost=[entry_id for part in parts for entry_id in part.lost],
        first_id=with_rows[0].first_id if with_rows else None,
        last_id=with_rows[-1].last_id if with_rows else None,
        first_time_ms=min((part.first_time_ms for part in with_rows if part.first_time_ms is not None), default=None),
        last_time_ms=max((part.last_time_ms for part in with_rows if part.last_time_ms is not None), default=None),
        foreign=sum(part.foreign for part in parts),
        event_ids=" ".join(part.event_ids for part in parts if part.event_ids),
    )


class Renderer:
    """Makes batches."""

    def __init__(self, settings: RowSettings) -> None:
        self.types = {event_type: TypeRenderer(event_type, settings) for event_type in settings.columns}

    def render(self, entries: Mapping[str, Sequence[RawEntry]], *, pending: bool, keep: bool = False) -> Batch | None:
        """Return the batch of these entries, or None where there are none.

        With `keep` the batch holds them, so that `without` can be asked. Mostly it does not: their memory is still in
        the processor's cache when the next ones are read.
        """
        if not entries:
            return None
        parts = {event_type: self.types[event_type].part(raw) for event_type, raw in entries.items()}
        return Batch(parts, pending, entries if keep else {})

    def without(self, batch: Batch, written: Mapping[str, AbstractSet[str]]) -> Batch:
        """Return a batch without the rows of entries that have some already, by their keys.

        These are acknowledged and counted as events with the rest; only their rows were counted before.
        """
        parts = dict(batch.parts)
        for event_type, keys in written.items():
            renderer, entries = self.types[event_type], batch.entries[event_type]
            new = [entry for entry in entries if keys.isdisjoint(keys_of(renderer.part([entry]).event_ids))]
            parts[event_type] = _with_rows_of(renderer.part(new), parts[event_type])
        return batch._replace(parts=parts)


def _with_rows_of(new: Part, whole: Part) -> Part:
    """Return what acknowledges and counts everything, and appends what is new."""
    return new._replace(
        ids=whole.ids, event_count=whole.event_count, dead=whole.dead, lost=whole.lost, foreign=whole.foreign
    )


class BatchSize:
    """How many entries to ask for, so that a batch stays near its size in bytes.

    Entries grow with the load (they hold arrays), so their mean size is followed: at once when they grow, slowly when
    they shrink.
    """

    def __init__(self, *, max_entries: int, max_bytes: int, mean_bytes: float = 1.0) -> None:
        self.max_bytes = max_bytes
        self._max_entries = max_entries
        self._mean_bytes = mean_bytes

    @property
    def entries(self) -> int:
        """Return how many entries of a stream to ask for."""
        return max(1, min(self._max_entries, int(self.max_bytes / self._mean_bytes)))

    def observe(self, batch: Batch) -> None:
        """Learn from what was read."""
        for part in batch.parts.values():
            self.learn(len(part.ids), part.size)

    def learn(self, entries: int, size: int) -> None:
        """Learn from so many entries, of so many bytes together."""
        mean = size / max(1, entries)
        self._mean_bytes = max(1.0, mean, 0.9 * self._mean_bytes + 0.1 * mean)
