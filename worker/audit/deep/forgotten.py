"""Rows of rewritten files: what an event's row looks like since an address was taken out of it.

A manifest that tells of it names the address by a digest. An event's row stands without the address where a rewritten
file of its layout has exactly that line; any other difference is one, in such a file as in all others.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress

from worker.audit.deep.files import Chosen, Expired, Reader
from worker.audit.deep.layout import Shape
from worker.erasure.lines import Eraser
from worker.erasure.matching import MARK, any_of

_MARK = MARK.encode()
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


class Rewritten:
    """The lines of the rewritten files of a type that addresses were taken out of, and what makes rows into them."""

    def __init__(self, files: Sequence[Chosen]) -> None:
        self._files = [file for file in files if file.stored.manifest and file.stored.manifest.forgotten]
        self._lines: dict[Shape, set[int]] = defaultdict(set)
        self._times: dict[Shape, set[str | None]] = defaultdict(set)  # the first in each of these lines
        self._erasers: dict[Shape, dict[frozenset[tuple[str, str]], Eraser]] = defaultdict(dict)
        self.rows = 0

    def read(self) -> None:
        """Read these files; what cannot be read is found when all files are."""
        for file in self._files:
            shape = file.shape
            entries = file.stored.manifest.forgotten if file.stored.manifest else ()
            digests = frozenset((each.salt, each.digest) for each in entries)
            self._erasers[shape].setdefault(
                digests, Eraser(shape.format, shape.separator, shape.columns, any_of(digests))
            )
            self.rows += sum(each.rows for each in entries)
            with suppress(Expired):
                for block in Reader(file.place, shape.header).rows(file.stored):
                    self._note(shape, [line for line in block.lines if _MARK in line])

    def _note(self, shape: Shape, lines: Sequence[bytes]) -> None:
        self._lines[shape].update(map(hash, lines))
        self._times[shape].update(_time(line.decode("utf-8", "replace")) for line in lines)

    def as_they_stand(self, rows: list[str], shape: Shape) -> list[str]:
        """Return rows of events as files of a shape have them."""
        erasers = self._erasers.get(shape)
        return [self._as_it_stands(row, shape, erasers.values()) for row in rows] if erasers else rows

    def _as_it_stands(self, row: str, shape: Shape, erasers: Iterable[Eraser]) -> str:
        if _time(row) not in self._times[shape]:  # most rows need no closer look, which takes long
            return row
        line = row.encode()
        for eraser in erasers:
            found = eraser.line(line)
            if found is not line and hash(found) in self._lines[shape]:
                return found.decode()
        return row


def _time(row: str) -> str | None:
    found = _TIME.search(row)
    return found[0] if found else None
