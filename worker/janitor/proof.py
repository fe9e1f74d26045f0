"""Proof that rows stand in sealed files: line by line, by their bytes, and as often as they are looked for."""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import zstandard

from worker import regular
from worker.inventory import Stored, lines

_LINES = 200_000  # that are looked for at once, some 30 MB of memory
_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


def rows_without_proof(tail: Path, files: Sequence[Stored]) -> int:
    """Return how many rows of a tail stand in none of these files. Raises OSError where the tail cannot be read.

    What follows its last line break is the beginning of a row that nobody acknowledged. A file that cannot be read
    proves nothing.
    """
    return sum(_left_of(wanted, files) for wanted in _slices(tail))


def _slices(tail: Path) -> Iterator[Counter[int]]:
    with regular.opened(tail) as content:
        found = regular.lines(content, str(tail))
        while some := Counter(hash(line) for line in islice(found, _LINES) if line.endswith(b"\n")):
            yield some


def _left_of(wanted: Counter[int], files: Iterable[Stored]) -> int:
    """Return how many of these lines are left when all files were read, or none was left before."""
    for file in files:
        if not wanted:
            break
        try:
            for line in lines(file):
                number = hash(line)
                if number in wanted:
                    wanted[number] -= 1
                    if not wanted[number]:
                        del wanted[number]
        except _UNREADABLE:
            continue
    return wanted.total()
