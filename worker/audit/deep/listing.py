"""The second pass: where exactly the rows are that the comparison found by their hashes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from worker.audit.deep.altered import Wanted
from worker.audit.deep.compare import Difference
from worker.audit.deep.files import Lines
from worker.audit.deep.sides import indexes_of
from worker.audit.deep.spill import Side
from worker.batch import TypeRenderer
from worker.decode import RawEntry, payload_of

#: Rows of each kind that are looked at one by one, so that altered ones can be paired.
EXAMINED = 2_000


class FileRow(NamedTuple):
    """A row as it stands."""

    text: bytes
    file: str
    line: int


class EventRow(NamedTuple):
    """A row as it should be."""

    text: bytes
    entry: str  # stream id
    event: int  # index in the entry
    rcpt: str


class _Recipient(Struct):
    rcpt: str


class _Event(Struct):
    rcpts: list[_Recipient]


_raw_events = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(_Event)


class Found:
    """The rows of files that stand too often, or that no event has."""

    def __init__(self, difference: Difference) -> None:
        self._doubled = difference.doubled_hashes
        self._unexpected = difference.unexpected_hashes
        self._wanted = self._doubled | self._unexpected
        self.doubled: dict[int, list[FileRow]] = {}
        self.unexpected: list[FileRow] = []

    @property
    def is_wanted(self) -> bool:
        """Tell whether files have to be read for it."""
        return bool(self._wanted)

    def look(self, side: Side, block: Lines) -> None:
        """Note the lines of a file that are wanted; in an old one, rows of no event are as they should be."""
        wanted = self._doubled if side is Side.OLD else self._wanted
        hashes = list(map(hash, block.lines))
        if wanted.isdisjoint(hashes):
            return
        for index, row in enumerate(hashes):
            if row in wanted:
                self._note(row, FileRow(block.lines[index], str(block.stored.path), block.first + index))

    def _note(self, row: int, place: FileRow) -> None:
        if row in self._unexpected:
            if len(self.unexpected) < EXAMINED:
                self.unexpected.append(place)
        elif row in self.doubled or len(self.doubled) < EXAMINED:
            self.doubled.setdefault(row, []).append(place)


class Missing:
    """The rows of events that do not stand in the files."""

    def __init__(self, difference: Difference, renderer: TypeRenderer, wanted: Wanted) -> None:
        """Of rows that may be elsewhere, only those are noted that an unexpected row resembles."""
        self._missing = Counter(difference.missing_hashes)
        self._elsewhere = difference.elsewhere_hashes
        self._renderer = renderer
        self._wanted = wanted
        self.rows: list[EventRow] = []
        self.elsewhere: list[EventRow] = []

    def look(self, side: Side, entries: Sequence[RawEntry]) -> None:
        """Note the rows of some entries that are missing."""
        if side is Side.KNOWN:
            return
        hashes = set(map(hash, self._renderer.part(entries).rows.split(b"\n")))
        if side is Side.EXPECTED and not self._missing.keys().isdisjoint(hashes):
            for row in self._rows(entries):
                self._note(row)
        elif side is Side.ELSEWHERE and not self._elsewhere.isdisjoint(hashes):
            self.elsewhere += (row for row in self._rows(entries) if self._may_be_altered(row))

    def _note(self, row: EventRow) -> None:
        number = hash(row.text)
        if self._missing[number] > 0 and (len(self.rows) < EXAMINED or self._wanted.resembles(row.text)):
            self._missing[number] -= 1
            self.rows.append(row)

    def _may_be_altered(self, row: EventRow) -> bool:
        return hash(row.text) in self._elsewhere and self._wanted.resembles(row.text)

    def _rows(self, entries: Sequence[RawEntry]) -> Iterator[EventRow]:
        """Yield the rows of entries one by one, each with the event that it is of."""
        for entry_id, fields in entries:
            events = _raw_events.decode(payload_of(fields or ()))
            for index, event in zip(indexes_of(fields or (), len(events)), events, strict=True):
                rows = self._renderer.part([(entry_id, [b"events", b"[" + bytes(event) + b"]"])]).rows.split(b"\n")
                recipients = _event.decode(event).rcpts if rows[0] else []
                for row, recipient in zip(rows, recipients, strict=False):
                    yield EventRow(row, entry_id.decode(), index, recipient.rcpt)
