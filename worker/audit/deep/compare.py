"""The two sides against each other: which rows are missing, doubled, or of no event. Pure."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import chain, filterfalse, islice

from msgspec import Struct, field

from worker.audit.deep.spill import Partition, Side

#: Rows of a kind whose hashes are kept, so that the second pass can find them; the counts are exact beyond it.
KEPT = 200_000

_TOLD = (Side.EXPECTED, Side.ELSEWHERE, Side.KNOWN)  # by events
_THERE = (Side.FOUND, Side.OLD)


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


def compare(partitions: Iterable[Partition], found: Difference) -> None:
    """Add how the sides differ to what is known already."""
    for partition in partitions:
        _compare(partition, found)


def _compare(partition: Partition, found: Difference) -> None:
    differing, strange = _distinct(partition) or _counted(partition)
    if differing:
        expected, elsewhere, known = (
            _count(differing, partition, side) for side in (Side.EXPECTED, Side.ELSEWHERE, Side.KNOWN)
        )
        there = _count(differing, partition, Side.FOUND, Side.OLD)
        for row in differing:
            told = expected[row] + elsewhere[row] + known[row]
            _differs(found, row, (expected[row], elsewhere[row], told), there[row])
    if strange:
        stands = _count(strange, partition, Side.FOUND)
        found.unexpected += stands.total()
        found.old += _count(strange, partition, Side.OLD).total()
        found.unexpected_hashes.update(islice(stands, max(0, KEPT - len(found.unexpected_hashes))))


def _distinct(partition: Partition) -> tuple[AbstractSet[int], AbstractSet[int]] | None:
    """Return the rows that do not stand, and those that no event has; at little cost, where no row comes twice."""
    stands = set[int]()
    stands.update(*(partition[side] for side in _THERE))
    rows = len(stands)
    if rows < _size(partition, _THERE):
        return None
    missing = list(filterfalse(stands.__contains__, chain.from_iterable(partition[side] for side in _TOLD)))
    stands.difference_update(*(partition[side] for side in _TOLD))
    if _size(partition, _TOLD) - len(missing) > rows - len(stands):  # some that stand are told of more than once
        return None
    return set(missing), stands


def _counted(partition: Partition) -> tuple[AbstractSet[int], AbstractSet[int]]:
    """Return the rows that stand more or less often than their events tell, and those that no event has."""
    told, there = (Counter(chain.from_iterable(partition[side] for side in sides)) for sides in (_TOLD, _THERE))
    return {row for row, wanted in told.items() if there[row] != wanted}, there.keys() - told.keys()


def _size(partition: Partition, sides: Iterable[Side]) -> int:
    return sum(len(partition[side]) for side in sides)


def _count(rows: AbstractSet[int], partition: Partition, *sides: Side) -> Counter[int]:
    """Count how often some rows are on these sides."""
    return Counter(row for side in sides for row in partition[side] if row in rows)


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
