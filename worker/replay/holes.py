"""Holes: events of a range that are gone out of their stream, found by the running numbers of what is left. Pure.

An entry holds `n` events, and `at` is the running number of the last one in its type. Where an entry begins later than
the one before it ended, what was between them is gone: trimmed while the range was read, or deleted at any time.

Entries that somebody added without numbers are passed over, and so are numbers that cannot be: more than were ever
published, or less than some before them. Those are copies by hand, or of a ledger that was lost, and no hole.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from worker.decode import RawEntry
from worker.errors import AccountingError
from worker.numbers import Numbers, numbers_of, run_on
from worker.replay.span import after, before
from worker.stream.ranges import Edge


class Incomplete(AccountingError):
    """Events of the range are missing in what was written."""


class Hole(Struct, frozen=True):
    """Events of a range that could not be read any more."""

    type: str
    events: int | None  # None: nobody can tell how many
    from_id: str  # their entries had ids from here …
    to_id: str  # … to here, both included


class Course:
    """Follows one type from the first entry that was there when the replay began to the last."""

    def __init__(self, event_type: str, first: Edge, last: Edge, published: int) -> None:
        """Take both entries, and how many events were published by now; 0 where nobody counted."""
        self._type = event_type
        self._first, self._last = first, last
        self._published = published
        self._at: int | None = None  # the events through this number were read, or are told
        self._since = first.id  # those behind it have ids from here
        self._begun: str | None = None  # the first id that was read
        self._read: str | None = None  # the last one
        self._is_begin_told = False
        if numbers := self._believed(Numbers(first.n, first.at)):
            self._at = numbers.at - numbers.n

    def follow(self, page: Sequence[RawEntry]) -> Iterator[Hole]:
        """Yield the holes before and in the next entries."""
        self._begun = self._begun or page[0][0].decode()
        self._read = page[-1][0].decode()
        is_whole = run_on(page, _events_in(page))
        for entry_id, fields in page[:1] if is_whole else page:
            if numbers := self._believed(numbers_of(fields or ())):
                yield from self._before(entry_id.decode(), numbers)
        if is_whole and (numbers := self._believed(numbers_of(page[-1][1] or ()))):
            self._pass(self._read, numbers)

    def end(self) -> Iterator[Hole]:
        """Yield what is missing at either end, once everything was read."""
        if self._begun and self._begun != self._first.id and not self._is_begin_told:
            yield Hole(self._type, None, self._first.id, before(self._begun))
        if self._read != self._last.id:
            numbers = self._believed(Numbers(self._last.n, self._last.at))
            gone = numbers.at - self._at if numbers and self._at is not None else 0
            since = after(self._read) if self._read else self._first.id
            yield Hole(self._type, gone if gone > 0 else None, since, self._last.id)

    def _before(self, entry_id: str, numbers: Numbers) -> Iterator[Hole]:
        """Yield the hole before an entry, and pass it."""
        gone = numbers.at - numbers.n - self._at if self._at is not None else 0
        if gone > 0:
            self._is_begin_told = self._is_begin_told or self._since == self._first.id
            yield Hole(self._type, gone, self._since, before(entry_id))
        self._pass(entry_id, numbers)

    def _pass(self, entry_id: str, numbers: Numbers) -> None:
        if self._at is None or numbers.at > self._at:
            self._at, self._since = numbers.at, after(entry_id)

    def _believed(self, numbers: Numbers | None) -> Numbers | None:
        """Return numbers that can be."""
        if numbers and 0 < numbers.n <= numbers.at and (not self._published or numbers.at <= self._published):
            return numbers
        return None


def _events_in(page: Sequence[RawEntry]) -> int:
    """Return how many events entries hold, where all are as the publish script writes them; else 0."""
    try:
        numbers = [fields[3] for _, fields in page if fields]
        return len(numbers) if numbers.count(b"1") == len(numbers) else sum(map(int, numbers))
    except (IndexError, ValueError):
        return 0
