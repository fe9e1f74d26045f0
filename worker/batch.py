"""A batch: the entries that were read at once, rendered and ready to be appended and committed.

Pure.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from worker.decode import DeadLetter, Decoder, RawEntry
from worker.records import FileState
from worker.rows import Rows
from worker.settings import RowSettings


class Part(NamedTuple):
    """What one stream's entries of a batch became: the rows to append, and what the commit acknowledges and counts."""

    rows: bytes
    ids: Sequence[bytes]  # of every entry, the bad and the lost ones included
    row_count: int
    event_count: int
    dead: Sequence[DeadLetter]
    lost: int
    first_id: str | None
    last_id: str | None
    first_time_ms: int | None
    last_time_ms: int | None

    def advance(self, state: FileState) -> FileState:
        """Return the state of a file that these rows were appended to."""
        if not self.row_count:
            return state
        times = (self.first_time_ms, self.last_time_ms, state.first_time_ms, state.last_time_ms)
        known = [time for time in times if time is not None]
        return msgspec.structs.replace(
            state,
            length=state.length + len(self.rows),
            rows=state.rows + self.row_count,
            first_id=state.first_id or self.first_id,
            last_id=self.last_id,
            first_time_ms=min(known),
            last_time_ms=max(known),
        )


class Batch(NamedTuple):
    """The parts of a batch by type."""

    parts: Mapping[str, Part]
    pending: bool  # read from the own pending entries: nothing new may be read before it is committed


class Renderer:
    """Makes batches: decodes the entries of each type and renders their rows."""

    def __init__(self, settings: RowSettings) -> None:
        self.rows = {event_type: Rows(event_type, settings) for event_type in settings.columns}
        self._decoders = {event_type: Decoder(event_type, columns) for event_type, columns in settings.columns.items()}

    def render(self, entries: Mapping[str, Sequence[RawEntry]], *, pending: bool) -> Batch | None:
        """Return the batch of these entries, or None where there are none."""
        if not entries:
            return None
        return Batch({event_type: self._part(event_type, raw) for event_type, raw in entries.items()}, pending)

    def _part(self, event_type: str, entries: Sequence[RawEntry]) -> Part:
        decoded = self._decoders[event_type].decode(entries)
        rows, row_count = self.rows[event_type].render(decoded.ids, decoded.events, suspect=decoded.suspect)
        times = [event.time_logged for events in decoded.events for event in events]
        return Part(
            rows=rows,
            ids=[entry_id for entry_id, _ in entries],
            row_count=row_count,
            event_count=len(times),
            dead=decoded.dead,
            lost=decoded.lost,
            first_id=decoded.ids[0] if decoded.ids else None,
            last_id=decoded.ids[-1] if decoded.ids else None,
            first_time_ms=min(times, default=None),
            last_time_ms=max(times, default=None),
        )


class BatchSize:
    """How many entries to ask for, so that a batch stays near its size in bytes.

    Entries grow with the load (they hold arrays), so their mean size is followed: at once when they grow, slowly when
    they shrink.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._mean_bytes = 1.0

    @property
    def entries(self) -> int:
        """Return how many entries of a stream to ask for."""
        return max(1, min(self._max_entries, int(self._max_bytes / self._mean_bytes)))

    def observe(self, entries: Mapping[str, Sequence[RawEntry]]) -> None:
        """Learn from what was read."""
        for raw in entries.values():
            size = sum(map(_size, raw)) / len(raw)
            self._mean_bytes = max(size, 0.9 * self._mean_bytes + 0.1 * size)


def _size(entry: RawEntry) -> int:
    fields = entry[1]
    return len(fields[1]) if fields else 1
