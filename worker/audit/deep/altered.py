"""Altered rows: one that stands though no event has it, and a missing one that it was made from. Pure.

Where files have several layouts, a missing row is compared in the form that it would have in the file of the other.
"""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from worker.audit.deep.layout import Shape
from worker.settings import Format

_RARE = 50  # rows that share a cell; a cell of more rows than that tells nothing
_LONG = 3  # characters, likewise

#: A missing row in each layout; None where it has no form in it.
Texts = Sequence[bytes | None]


class Pair(NamedTuple):
    """An altered row: which unexpected row it is, which missing one it was, and the columns that differ."""

    unexpected: int
    missing: int
    columns: tuple[str, ...]


def cells(row: bytes, shape: Shape) -> list[str]:
    """Take a row apart, whatever it holds."""
    text = row.decode("utf-8", "backslashreplace").removesuffix("\r")
    if shape.format is Format.JSONL:
        try:
            return [str(value) for value in json.loads(text).values()]
        except (ValueError, AttributeError, RecursionError):
            return text.split(",")
    if shape.separator == "\t" or '"' not in text:
        return text.split(shape.separator)
    try:
        return next(csv.reader([text], delimiter=shape.separator))
    except (csv.Error, StopIteration):
        return text.split(shape.separator)


class Wanted:
    """The unexpected rows, and whether another row could be what one of them was made from."""

    def __init__(self, rows: Iterable[tuple[bytes, Shape]], shapes: Sequence[Shape]) -> None:
        """Take the rows with the shapes of their files, and those of the layouts that other rows are in."""
        self._shapes = shapes
        self._cells = defaultdict[Shape, set[str]](set)
        for row, shape in rows:
            self._cells[shape].update(cell for cell in cells(row, shape) if len(cell) >= _LONG)

    def resembles(self, texts: Texts) -> bool:
        """Tell whether a row shares as many cells with the unexpected ones, all taken together, as a pair has to."""
        forms = zip(texts, self._shapes, strict=True)
        return any(self._is_like(text, shape) for text, shape in forms if text is not None and shape in self._cells)

    def _is_like(self, row: bytes, shape: Shape) -> bool:
        own, known = cells(row, shape), self._cells[shape]
        return sum(cell in known or len(cell) < _LONG for cell in own) * 2 >= len(own)


class _Form(NamedTuple):
    """A missing row in one layout."""

    row: int
    shape: Shape
    cells: list[str]


def pairs(unexpected: Sequence[tuple[bytes, Shape]], missing: Sequence[Texts], shapes: Sequence[Shape]) -> list[Pair]:
    """Return which unexpected row was made from which missing one: those that share most cells, each once."""
    forms = [
        _Form(number, shape, cells(text, shape))
        for number, texts in enumerate(missing)
        for text, shape in zip(texts, shapes, strict=True)
        if text is not None
    ]
    index: dict[tuple[Shape, str], list[_Form]] = defaultdict(list)
    for form in forms:
        for cell in {cell for cell in form.cells if len(cell) >= _LONG}:
            index[form.shape, cell].append(form)
    taken: set[int] = set()
    found = []
    for number, (row, shape) in enumerate(unexpected):
        now = cells(row, shape)
        best = _nearest(now, [(index.get((shape, cell)) or ())[:_RARE] for cell in set(now)], taken)
        if best is not None and _shared(now, best.cells) * 2 >= len(best.cells):
            taken.add(best.row)
            found.append(Pair(number, best.row, _differing(now, best.cells, shape.columns)))
    return found


def _nearest(now: Sequence[str], near: Iterable[Sequence[_Form]], taken: AbstractSet[int]) -> _Form | None:
    """Return the form that shares most cells with a row, of those that share one of its cells."""
    forms = {id(form): form for some in near for form in some if form.row not in taken}
    return max(forms.values(), key=lambda form: _shared(now, form.cells), default=None)


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
