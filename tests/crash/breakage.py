"""What a deliberate breakage is, and what has to notice it."""

from typing import NamedTuple


class Edit(NamedTuple):
    """Text of a file that has to stand there once, and what stands there instead."""

    file: str
    old: str
    new: str


class Search(NamedTuple):
    """Histories of the simulation, of which at least one must fail."""

    seed: int
    histories: int
    world: str = "sound"


class Breakage(NamedTuple):
    """A rule taken out of the code."""

    rule: str
    what: str
    edits: tuple[Edit, ...]
    noticed_by: Search | str | tuple[Search | str, ...]  # or a test by its node id; of several, each has to notice
    is_fast: bool = False  # noticed within few seconds: part of the normal tests

    @property
    def witnesses(self) -> tuple[Search | str, ...]:
        """Return all that has to notice it."""
        return (self.noticed_by,) if isinstance(self.noticed_by, Search | str) else self.noticed_by
