"""Altered rows: one that stands though no event has it, and a missing one that it was made from. Pure."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from worker.audit.deep.layout import Layout
from worker.settings import Format

_RARE = 50  # rows that share a cell; a cell of more rows than that tells nothing
_LONG = 3  # characters, likewise


class Pair(NamedTuple):
    """An altered row: which unexpected row it is, which missing one it was, and the columns that differ."""

    unexpected: int
    missing: int
    columns: tuple[str, ...]


def cells(row: bytes, layout: Layout) -> list[str]:
    """Take a row apart, whatever it holds."""
    text = row.decode("utf-8", "backslashreplace").removesuffix("\r")
    if layout.format == Format.JSONL:
        try:
            return [str(value) for value in json.loads(text).values()]
        except (ValueError, AttributeError, RecursionError):
            return text.split(",")
    if layout.separator == "\t" or '"' not in text:
        return text.split(layout.separator)
    try:
        return next(csv.reader([text], delimiter=layout.separator))
    except (csv.Error, StopIteration):
        return text.split(layout.separator)


class Wanted:
    """The unexpected rows, and whether another row could be what one of them was made from."""

    def __init__(self, rows: Iterable[bytes], layout: Layout) -> None:
        self._layout = layout
        self._cells = {cell for row in rows for cell in cells(row, layout) if len(cell) >= _LONG}

    def resembles(self, row: bytes) -> bool:
        """Tell whether a row shares as many cells with the unexpected ones, all taken together, as a pair has to."""
        own = cells(row, self._layout)
        return sum(cell in self._cells or len(cell) < _LONG for cell in own) * 2 >= len(own)


def pairs(unexpected: Sequence[bytes], missing: Sequence[bytes], layout: Layout) -> list[Pair]:
    """Return which unexpected row was made from which missing one: those that share most cells, each once."""
    before = [cells(row, layout) for row in missing]
    index: dict[str, list[int]] = defaultdict(list)
    for number, were in enumerate(before):
        for cell in {cell for cell in were if len(cell) >= _LONG}:
            index[cell].append(number)
    taken: set[int] = set()
    found = []
    for number, row in enumerate(unexpected):
        now = cells(row, layout)
        near = Counter(each for cell in set(now) for each in (index.get(cell) or ())[:_RARE] if each not in taken)
        best = max(near, key=lambda each: _shared(now, before[each]), default=None)
        if best is not None and _shared(now, before[best]) * 2 >= len(before[best]):
            taken.add(best)
            found.append(Pair(number, best, _differing(now, before[best], layout.columns)))
    return found


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the cells that two rows share: in the same place, or anywhere where their numbers differ."""
    if len(one) == len(other):
        return sum(a == b for a, b in zip(one, other, strict=True))
    return (Counter(one) & Counter(other)).total()


def _differing(now: Sequence[str], before: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    if len(now) != len(before):
        return ("the number of columns",)
    # the old format ends a row with a separator, so that there is a cell more than columns
    names = [*columns, *[""] * (len(now) - len(columns))]
    return tuple(name for name, a, b in zip(names, now, before, strict=False) if a != b)
