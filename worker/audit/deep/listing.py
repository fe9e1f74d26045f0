"""The second pass: where exactly the rows are that the comparison found by their hashes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from worker.audit.deep.altered import Wanted
from worker.audit.deep.compare import Difference
from worker.audit.deep.files import Lines
from worker.audit.deep.forms import EventRow, Forms
from worker.audit.deep.layout import Shape
from worker.audit.deep.spill import Side
from worker.decode import RawEntry

#: Rows of each kind that are looked at one by one, so that altered ones can be paired.
EXAMINED = 2_000


class FileRow(NamedTuple):
    """A row as it stands."""

    text: bytes
    shape: Shape  # of the file
    file: str
    line: int


class Found:
    """The rows of files that stand too often, or that no event has."""

    def __init__(self, difference: Difference, forms: Forms, twice: Mapping[int, int]) -> None:
        """`twice` are forms of rows that stand too often in several of them: by the hash of each, the row's number."""
        self._forms = forms
        self._twice = twice
        self._doubled = difference.doubled_hashes | twice.keys()
        self._unexpected = difference.unexpected_hashes
        self._wanted = self._doubled | self._unexpected
        self.doubled: dict[int, list[FileRow]] = {}
        self.unexpected: list[FileRow] = []

    @property
    def is_wanted(self) -> bool:
        """Tell whether files have to be read for it."""
        return bool(self._wanted)

    def look(self, side: Side, shape: Shape, block: Lines) -> None:
        """Note the lines of a file that are wanted; in an old one, rows of no event are as they should be."""
        wanted = self._doubled if side is Side.OLD else self._wanted
        hashes = self._forms.of_lines(block.lines, shape)
        if wanted.isdisjoint(hashes):
            return
        for index, row in enumerate(hashes):
            if row in wanted:
                self._note(row, FileRow(block.lines[index], shape, str(block.stored.path), block.first + index))

    def _note(self, row: int, place: FileRow) -> None:
        number = self._twice.get(row, row)
        if row in self._unexpected:
            if len(self.unexpected) < EXAMINED:
                self.unexpected.append(place)
        elif number in self.doubled or len(self.doubled) < EXAMINED:
            self.doubled.setdefault(number, []).append(place)


class Missing:
    """The rows of events that do not stand in the files."""

    def __init__(self, difference: Difference, forms: Forms, wanted: Wanted) -> None:
        """Of rows that may be elsewhere, only those are noted that an unexpected row resembles."""
        self._missing = Counter(difference.missing_hashes)
        self._elsewhere = difference.elsewhere_hashes
        self._forms = forms
        self._wanted = wanted
        self.rows: list[EventRow] = []
        self.elsewhere: list[EventRow] = []

    def look(self, side: Side, entries: Sequence[RawEntry]) -> None:
        """Note the rows of some entries that are missing."""
        if side is Side.KNOWN:
            return
        numbers = {number for hashed in self._forms.of_events(entries) for number in hashed.numbers}
        if side is Side.EXPECTED and not self._missing.keys().isdisjoint(numbers):
            for row in self._forms.rows(entries):
                self._note(row)
        elif side is Side.ELSEWHERE and not self._elsewhere.isdisjoint(numbers):
            self.elsewhere += (row for row in self._forms.rows(entries) if self._may_be_altered(row))

    def _note(self, row: EventRow) -> None:
        if self._missing[row.number] > 0 and (len(self.rows) < EXAMINED or self._wanted.resembles(row.texts)):
            self._missing[row.number] -= 1
            self.rows.append(row)

    def _may_be_altered(self, row: EventRow) -> bool:
        return row.number in self._elsewhere and self._wanted.resembles(row.texts)
