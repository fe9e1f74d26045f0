"""Rows of files in several layouts, told by the events that they are a form of.

Every form of every event row goes to disk beside the row's number, and every row of a file by its own hash. Partition
by partition, what stands is given the number of the event that it is a form of, no more often than there are such
events; more are doubled, and what no event has is unexpected. Then all of it is compared by numbers, as with one
layout: an event's row must stand once, in whichever form.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from worker.audit.deep.compare import KEPT, Difference
from worker.audit.deep.forms import Hashed
from worker.audit.deep.spill import Hashes, Parts, Side, Spill, partitions_for


class Join:
    """Takes the rows of both sides, and gives those of the files their numbers."""

    def __init__(self, directory: Path) -> None:
        """Write below a directory that is not there yet."""
        directory.mkdir()
        self._directory = directory
        self._forms = Hashes(directory / "forms")  # hash and number in turn
        self._rows = {side: Hashes(directory / f"rows-{side.name.lower()}") for side in (Side.FOUND, Side.OLD)}

    def add_events(self, hashed: Hashed) -> None:
        """Take rows of events."""
        self._forms.add(list(chain.from_iterable(hashed.pairs())))

    def add_rows(self, side: Side, found: Sequence[int]) -> None:
        """Take rows of files."""
        self._rows[side].add(found)

    def number(self, spill: Spill) -> Difference:
        """Add what stands to a spill by its numbers; returns what stands too often, or is a form of no event."""
        difference = Difference()
        for forms, found, old in self._partitions():
            numbers: list[int] = []
            of_form: dict[int, list[int]] = {}
            for form, number in zip(forms[::2], forms[1::2], strict=True):
                of_form.setdefault(form, []).append(number)
            for form, count in (found + old).items():
                told = of_form.get(form, ())
                numbers += told[:count]
                if told and count > len(told):
                    _doubled(difference, form, count - len(told))
                elif not told:
                    _strange(difference, form, found[form], old[form])
            spill.add(Side.FOUND, numbers)
        return difference

    def _partitions(self) -> Iterator[tuple[Sequence[int], Counter[int], Counter[int]]]:
        count = partitions_for(max(self._forms.count // 2, *(rows.count for rows in self._rows.values())))
        parts = {}
        for name, width, all_of_them in (
            ("forms", 2, self._forms), ("found", 1, self._rows[Side.FOUND]), ("old", 1, self._rows[Side.OLD]),
        ):  # fmt: skip
            parts[name] = Parts(self._directory / f"part-{name}", count, width)
            for block in all_of_them.read(0, all_of_them.count):
                parts[name].add(block)
        for number in range(count):
            found, old = (Counter(parts[name].read(number)) for name in ("found", "old"))
            yield parts["forms"].read(number), found, old


def _doubled(difference: Difference, form: int, count: int) -> None:
    difference.doubled += count
    if len(difference.doubled_hashes) < KEPT:
        difference.doubled_hashes.add(form)


def _strange(difference: Difference, form: int, found: int, old: int) -> None:
    difference.unexpected += found
    difference.old += old
    if found and len(difference.unexpected_hashes) < KEPT:
        difference.unexpected_hashes.add(form)
