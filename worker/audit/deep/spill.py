"""Hashes of rows on disk: written as they come, and given back in partitions that are small enough for memory.

Of each side the number and the sum are kept. Where those of what is expected and of what stands agree, they are the
same rows, and nothing is read back. A row that is missing or stands too often leaves its hash in the difference of the
sums, as often as it does so; that these cancel by chance happens once in 2^64. (Exclusive or would not show a row that
stands three times, and a sum modulo 2^64 loses bits of one that does so often.)
"""

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from pathlib import Path

_ROWS_EACH = 100_000  # of a partition, about
_MOST = 256
_KEPT = 100_000  # numbers in memory until they are written
_BLOCK = 200_000  # numbers that are read back at once
_BYTES = 8


class Side(IntEnum):
    """Which rows a hash belongs to."""

    EXPECTED = 0  # of events of the range: must stand in the files
    ELSEWHERE = 1  # of events of the range whose rows may be where this audit cannot look
    KNOWN = 2  # of other events: may stand in the files
    FOUND = 3  # in files
    OLD = 4  # in files that begin before the stream does: their events may be gone from it


#: Some hashes of all sides.
Partition = Mapping[Side, "array[int]"]


class Hashes:
    """Numbers of 64 bits in a file, in the order in which they were added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: list[int] = []
        self.count = 0

    def add(self, numbers: Sequence[int]) -> None:
        """Take some numbers."""
        self._kept += numbers
        self.count += len(numbers)
        if len(self._kept) > _KEPT:
            self._write()

    def read(self, start: int, end: int) -> Iterator["array[int]"]:
        """Yield those from one place to another, some at a time."""
        self._write()
        with self._path.open("rb") as file:
            file.seek(start * _BYTES)
            for place in range(start, end, _BLOCK):
                block = array("q")
                block.fromfile(file, min(_BLOCK, end - place))
                yield block

    def _write(self) -> None:
        with self._path.open("ab") as file:
            array("q", self._kept).tofile(file)
        self._kept = []


class Parts:
    """Records of one or more numbers in a number of files, by the first number of each."""

    def __init__(self, path: Path, partitions: int, width: int = 1) -> None:
        self._paths = [path.with_name(f"{path.name}.{number}") for number in range(partitions)]
        self._width = width

    def add(self, numbers: "array[int]") -> None:
        """Take some whole records."""
        for path, bucket in zip(self._paths, self._split(numbers), strict=True):
            if bucket:
                with path.open("ab") as file:
                    bucket.tofile(file)

    def read(self, number: int) -> "array[int]":
        """Return the records of a partition."""
        path, found = self._paths[number], array("q")
        if path.exists():
            with path.open("rb") as file:
                found.fromfile(file, path.stat().st_size // _BYTES)
        return found

    def _split(self, numbers: "array[int]") -> Sequence["array[int]"]:
        mask = len(self._paths) - 1
        if not mask:
            return [numbers]
        buckets: list[list[int]] = [[] for _ in self._paths]
        if self._width == 1:
            for number in numbers:
                buckets[number & mask].append(number)
        else:
            for record in zip(*[iter(numbers)] * self._width, strict=True):
                buckets[record[0] & mask] += record
        return [array("q", bucket) for bucket in buckets]


def partitions_for(rows: int) -> int:
    """Return how many partitions so many rows want: a power of two."""
    wanted = max(1, min(_MOST, rows // _ROWS_EACH))
    return 1 << (wanted - 1).bit_length()


class Spill:
    """The hashes of all sides.

    Those of expected rows are added by segments of the stream, in the order of their ids, so that a segment can be
    taken out of what is expected afterwards.
    """

    def __init__(self, directory: Path) -> None:
        """Write below a directory that exists."""
        self._directory = directory
        self._hashes = {side: Hashes(directory / side.name.lower()) for side in Side}
        self._sums = dict.fromkeys(Side, 0)
        self._segments: list[tuple[int, int]] = []  # of expected rows: which, and the place of its first one

    @property
    def counts(self) -> Mapping[Side, int]:
        """Return how many rows of each side there are."""
        return {side: hashes.count for side, hashes in self._hashes.items()}

    def add(self, side: Side, hashes: Sequence[int], segment: int = 0) -> None:
        """Take some hashes of one side."""
        if side is Side.EXPECTED and (not self._segments or self._segments[-1][0] != segment):
            self._segments.append((segment, self._hashes[side].count))
        self._hashes[side].add(hashes)
        self._sums[side] += sum(hashes)

    def partitions(self, unseen: Collection[int] = ()) -> Iterator[Partition]:
        """Yield the hashes of all sides by partition; nothing where everything is as expected.

        Expected rows of `unseen` segments are those of events whose rows may be elsewhere.
        """
        if not unseen and self._is_as_expected():
            return
        count = partitions_for(max(self.counts.values()))
        parts = {side: Parts(self._directory / f"part-{side.name.lower()}", count) for side in Side}
        for side, block in self._blocks(unseen):
            parts[side].add(block)
        for number in range(count):
            yield {side: of_side.read(number) for side, of_side in parts.items()}

    def _is_as_expected(self) -> bool:
        """Tell whether exactly the expected rows stand, or these and all that may."""
        counts, sums = self.counts, self._sums
        if counts[Side.ELSEWHERE] or counts[Side.OLD]:
            return False
        stands = counts[Side.FOUND], sums[Side.FOUND]
        expected = counts[Side.EXPECTED], sums[Side.EXPECTED]
        known = counts[Side.KNOWN], sums[Side.KNOWN]
        return stands in (expected, (expected[0] + known[0], expected[1] + known[1]))

    def _blocks(self, unseen: Collection[int]) -> Iterator[tuple[Side, "array[int]"]]:
        expected = self._hashes[Side.EXPECTED]
        for (segment, start), (_, end) in pairwise([*self._segments, (0, expected.count)]):
            side = Side.ELSEWHERE if segment in unseen else Side.EXPECTED
            yield from ((side, block) for block in expected.read(start, end))
        for side in Side:
            if side is not Side.EXPECTED:
                hashes = self._hashes[side]
                yield from ((side, block) for block in hashes.read(0, hashes.count))
