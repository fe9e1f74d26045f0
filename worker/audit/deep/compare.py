"""The two sides against each other: which rows are missing, doubled, or of no event. Pure."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain

from msgspec import Struct, field

from worker.audit.deep.spill import Side

#: Rows of a kind whose hashes are kept, so that the second pass can find them; the counts are exact beyond it.
KEPT = 200_000

Partition = Mapping[Side, "array[int]"]


class Difference(Struct):
    """How the two sides differ, in rows; and the hashes of the rows concerned, as far as they are kept."""

    missing: int = 0  # expected more often than they stand
    elsewhere: int = 0  # likewise, but they may be where this audit cannot look
    doubled: int = 0  # stand more often than they should
    unexpected: int = 0  # stand, and no event has them
    old: int = 0  # likewise, but their events may be gone from the stream
    missing_hashes: Counter[int] = field(default_factory=Counter)
    elsewhere_hashes: set[int] = field(default_factory=set)
    doubled_hashes: set[int] = field(default_factory=set)
    unexpected_hashes: set[int] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        """Tell whether every row that can be judged stands as often as it should."""
        return not (self.missing or self.doubled or self.unexpected)


def compare(partitions: Iterable[Partition]) -> Difference:
    """Return how the sides differ."""
    found = Difference()
    for partition in partitions:
        if not _is_same(partition):
            _compare(partition, found)
    return found


def _is_same(partition: Partition) -> bool:
    """Tell at little cost whether exactly what is expected stands: equal sums of random numbers are no chance."""
    expected, stands = partition[Side.EXPECTED], partition[Side.FOUND]
    others = (partition[side] for side in (Side.ELSEWHERE, Side.KNOWN, Side.OLD))
    return not any(others) and len(expected) == len(stands) and sum(expected) == sum(stands)


def _compare(partition: Partition, found: Difference) -> None:
    told = Counter(chain(partition[Side.EXPECTED], partition[Side.ELSEWHERE], partition[Side.KNOWN]))
    there = Counter(chain(partition[Side.FOUND], partition[Side.OLD]))
    differing = [row for row, wanted in told.items() if there[row] != wanted]
    if differing:
        expected, elsewhere = Counter(partition[Side.EXPECTED]), Counter(partition[Side.ELSEWHERE])
        for row in differing:
            _differs(found, row, (expected[row], elsewhere[row], told[row]), there[row])
    strange = there.keys() - told.keys()
    if strange:
        stands = Counter(partition[Side.FOUND])
        for row in strange:
            found.unexpected += stands[row]
            found.old += there[row] - stands[row]
            if stands[row] and len(found.unexpected_hashes) < KEPT:
                found.unexpected_hashes.add(row)


def _differs(found: Difference, row: int, wanted: tuple[int, int, int], there: int) -> None:
    """Note a row that stands less often than it is expected, or more often than its events tell."""
    expected, elsewhere, told = wanted
    missing = max(0, expected - there)
    if missing:
        found.missing += missing
        if len(found.missing_hashes) < KEPT:
            found.missing_hashes[row] = missing
    absent = min(elsewhere, max(0, expected + elsewhere - there))
    if absent:
        found.elsewhere += absent
        if len(found.elsewhere_hashes) < KEPT:
            found.elsewhere_hashes.add(row)
    if there > told:
        found.doubled += there - told
        if len(found.doubled_hashes) < KEPT:
            found.doubled_hashes.add(row)
