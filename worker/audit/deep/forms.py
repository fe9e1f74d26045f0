"""Forms: what the rows of events are in each layout that files of a range have. Pure.

A row has a number, by which both sides are compared. With one layout that is the hash of the row as it stands. With
several, an event's row stands in one of its forms, and the number is the hash of what all forms show: the columns that
the layouts share, in one format. Each form has a hash of its own, by which the rows of files are found (`join`).

An event that cannot be decoded for the columns of one layout may have been for those of another: then it has no form in
the former.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec
from msgspec import Struct

from worker.audit.deep import hashes
from worker.audit.deep.forgotten import Rewritten
from worker.audit.deep.layout import Layout, Shape, common
from worker.audit.deep.sides import indexes_of
from worker.batch import Texts, TypeRenderer, slices
from worker.decode import RawEntry, payload_of
from worker.settings import RowSettings


class Hashed(NamedTuple):
    """Rows of events: their numbers, and parallel to them, for each of several layouts, the hashes of their forms."""

    numbers: list[int]
    forms: Sequence[Sequence[int | None]]  # None: the row has no form in that layout

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield each form, once, and the number of the row that it is a form of."""
        for number, *forms in zip(self.numbers, *self.forms, strict=True):
            for form in set(forms):
                if form is not None:
                    yield form, number


class EventRow(NamedTuple):
    """A row as it should be."""

    number: int
    texts: tuple[bytes | None, ...]  # by layout
    entry: str  # stream id
    event: int  # index in the entry
    rcpt: str


class _Recipient(Struct):
    rcpt: str


class _Event(Struct):
    rcpts: list[_Recipient]


_raw_events = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(_Event)
_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Forms:
    """The rows of one type in some layouts."""

    def __init__(
        self, event_type: str, layouts: Sequence[Layout], configured: RowSettings, rewritten: Rewritten | None = None
    ) -> None:
        """Compile what renders each layout. Raises NotAudited for one that this version does not know.

        `rewritten` tells which rows look otherwise since an address was taken out of their file.
        """
        self._rewritten = rewritten or Rewritten(())
        self.shapes = [layout.shape for layout in layouts]
        self._renderers = [TypeRenderer(event_type, layout.settings(configured, event_type)) for layout in layouts]
        self._common = TypeRenderer(event_type, common(layouts).settings(configured, event_type))
        # the same line in files of two shapes is two forms, and Python's hash is as random as a number drawn
        self._salts = {shape: hash(shape) if number else 0 for number, shape in enumerate(self.shapes)}

    @property
    def are_several(self) -> bool:
        """Tell whether rows have more than one form."""
        return len(self.shapes) > 1

    def of_lines(self, lines: Sequence[bytes], shape: Shape) -> list[int]:
        """Return the hashes of rows that stand in a file of that shape; with one layout, their numbers."""
        return self._salted(hashes.of_lines(lines), shape)

    def of_events(self, entries: Sequence[RawEntry]) -> Iterator[Hashed]:
        """Yield the rows of entries, some at a time."""
        for some in slices(entries):
            if self.are_several:
                yield self._in_all_layouts(some)
            else:
                rows = self._rewritten.as_they_stand(self._renderers[0].lines(some).rows, self.shapes[0])
                yield Hashed(hashes.of_texts(rows), ())

    def of_rows(self, numbers: AbstractSet[int], entries: Sequence[RawEntry]) -> Iterator[tuple[int, int]]:
        """Yield the forms of the rows with these numbers, each with its row's number."""
        for hashed in self.of_events(entries):
            if not numbers.isdisjoint(hashed.numbers):
                yield from (pair for pair in hashed.pairs() if pair[1] in numbers)

    def rows(self, entries: Sequence[RawEntry]) -> Iterator[EventRow]:
        """Yield the rows of entries one by one, each with the event that it is of."""
        for entry_id, fields in entries:
            try:
                events = _raw_events.decode(payload_of(fields or ()))
            except _NOT_DECODED:
                continue  # a dead letter, with any columns
            for index, event in zip(indexes_of(fields or (), len(events)), events, strict=True):
                yield from self._rows_of((entry_id, [b"events", b"[" + bytes(event) + b"]"]), index, bytes(event))

    def _rows_of(self, entry: RawEntry, index: int, event: bytes) -> Iterator[EventRow]:
        by_layout = [
            self._rewritten.as_they_stand(renderer.lines([entry]).rows, shape)
            for renderer, shape in zip(self._renderers, self.shapes, strict=True)
        ]
        if not any(by_layout):
            return
        numbers = hashes.of_texts(self._common.lines([entry]).rows if self.are_several else by_layout[0])
        for place, (number, recipient) in enumerate(zip(numbers, _event.decode(event).rcpts, strict=True)):
            texts = tuple(rows[place].encode() if rows else None for rows in by_layout)
            yield EventRow(number, texts, entry[0].decode(), index, recipient.rcpt)

    def _in_all_layouts(self, entries: Sequence[RawEntry]) -> Hashed:
        common_rows = self._common.lines(entries)
        by_layout = [renderer.lines(entries) for renderer in self._renderers]
        if not all(texts.is_whole for texts in (common_rows, *by_layout)):
            return self._one_by_one(entries)
        forms = [self._of_texts(texts, shape) for texts, shape in zip(by_layout, self.shapes, strict=True)]
        return Hashed(hashes.of_texts(common_rows.rows), forms)

    def _one_by_one(self, entries: Sequence[RawEntry]) -> Hashed:
        rows = list(self.rows(entries))
        forms = [[self._form(row.texts[place], shape) for row in rows] for place, shape in enumerate(self.shapes)]
        return Hashed([row.number for row in rows], forms)

    def _form(self, text: bytes | None, shape: Shape) -> int | None:
        return None if text is None else self.of_lines([text], shape)[0]

    def _of_texts(self, texts: Texts, shape: Shape) -> list[int]:
        return self._salted(hashes.of_texts(self._rewritten.as_they_stand(texts.rows, shape)), shape)

    def _salted(self, found: list[int], shape: Shape) -> list[int]:
        salt = self._salts[shape]
        return [each ^ salt for each in found] if salt else found
