"""Hashes of rows on disk, in partitions that are small enough to be compared in memory."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path

_ROWS_EACH = 200_000  # of a partition, about
_MOST = 256
_KEPT = 100_000  # hashes in memory until they are written
_BYTES = 8


class Side(IntEnum):
    """Which rows a hash belongs to."""

    EXPECTED = 0  # of events of the range: must stand in the files
    ELSEWHERE = 1  # of events of the range whose rows may be where this audit cannot look
    KNOWN = 2  # of other events: may stand in the files
    FOUND = 3  # in files
    OLD = 4  # in files that begin before the stream does: their events may be gone from it


class Spill:
    """Takes hashes in any order, and gives them back by partition."""

    def __init__(self, directory: Path, rows: int) -> None:
        """Write below a directory that exists; `rows` is about how many there will be."""
        self._directory = directory
        wanted = max(1, min(_MOST, rows // _ROWS_EACH))
        self._partitions = 1 << (wanted - 1).bit_length()
        self._kept: dict[Side, list[int]] = {side: [] for side in Side}
        self.counts = dict.fromkeys(Side, 0)

    def add(self, side: Side, hashes: Iterable[int]) -> None:
        """Take some hashes of one side."""
        kept = self._kept[side]
        before = len(kept)
        kept += hashes
        self.counts[side] += len(kept) - before
        if len(kept) > _KEPT:
            self._write(side)

    def partitions(self) -> Iterator[Mapping[Side, "array[int]"]]:
        """Yield the hashes of all sides, partition by partition."""
        for side in Side:
            self._write(side)
        for number in range(self._partitions):
            yield {side: self._read(self._path(side, number)) for side in Side}

    def _write(self, side: Side) -> None:
        buckets: list[list[int]] = [[] for _ in range(self._partitions)]
        mask = self._partitions - 1
        if mask:
            for each in self._kept[side]:
                buckets[each & mask].append(each)
        else:
            buckets[0] = self._kept[side]
        for number, bucket in enumerate(buckets):
            if bucket:
                with self._path(side, number).open("ab") as file:
                    array("q", bucket).tofile(file)
        self._kept[side] = []

    def _path(self, side: Side, number: int) -> Path:
        return self._directory / f"{side.name.lower()}.{number}"

    def _read(self, path: Path) -> "array[int]":
        hashes = array("q")
        if path.exists():
            with path.open("rb") as file:
                hashes.fromfile(file, path.stat().st_size // _BYTES)
        return hashes
