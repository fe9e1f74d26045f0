"""The order of a stream's running numbers: each entry's is higher than that of the one before it. Pure."""

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import lt

from worker.audit.finding import Finding, Kind
from worker.decode import RawEntry
from worker.numbers import numbers_of


class Order:
    """Follows the running numbers of one type, the oldest entry first."""

    def __init__(self, event_type: str) -> None:
        self._type = event_type
        self._at = 0  # the highest so far
        self._first: str | None = None
        self._count = 0

    def look(self, entries: Sequence[RawEntry]) -> None:
        """Look at some more entries; those without numbers were added by hand, and are counted as such."""
        numbers = _published(entries)
        if numbers and numbers[0] > self._at and all(map(lt, numbers, islice(numbers, 1, None))):
            self._at = numbers[-1]
            return
        for entry_id, fields in entries:
            found = numbers_of(fields or ())
            if found is None:
                continue
            if found.at <= self._at:
                self._count += 1
                self._first = self._first or entry_id.decode()
            self._at = max(self._at, found.at)

    def findings(self) -> Iterator[Finding]:
        """Yield what was wrong."""
        if self._count:
            yield Finding(
                kind=Kind.ORDER, type=self._type, entry=self._first, count=self._count,
                text=f"{self._type}: {self._count:,} entries have running numbers that others had before them, such as "
                f"{self._first}: they were copied by hand, and their events counted twice",
            )  # fmt: skip


def _published(entries: Sequence[RawEntry]) -> Sequence[int]:
    """Return the running numbers of entries that all look as they are published; nothing where one does not."""
    try:
        found = [int(fields[5]) for _, fields in entries if fields and fields[4] == b"at"]
    except (IndexError, ValueError):
        return ()
    return found if len(found) == len(entries) else ()
