"""Ages of a directory's sealed files: how long each has been seen, by the directory's line of passed time."""

import errno
from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.inventory import Place, Stored
from worker.janitor.expire import Standing
from worker.janitor.line import Line
from worker.janitor.sightings import Sightings
from worker.passed_time import Reading


class Ages:
    """What tells them, brought up to now at each run."""

    def __init__(self, path: Path) -> None:
        self._line = Line(path)
        self._sightings: dict[Path, Sightings] = {}  # by location
        self.now_ms = self._wall_ms = 0  # of passed time, and by the wall clock, as of the last look

    def look(self, places: Iterable[Place], reading: Reading, *, trust_clock: bool = False) -> None:
        """Let the line go on to now; with `trust_clock`, all counts that the wall clock says. Raises OSError."""
        self._sightings = {place.open: Sightings(place.open) for place in places}
        self.now_ms = self._line.look(reading, self._sightings.values(), trusted=trust_clock)
        self._wall_ms = reading.wall_ms

    def begins(self, place: Place) -> bool:
        """Tell whether the files of a place have never been looked at."""
        return not self._sightings[place.open].exist()

    def of(self, place: Place, standing: Sequence[Stored]) -> list[Standing]:
        """Return all files of a place with the time since which each has been seen. Raises OSError."""
        first = self._sightings[place.open].see(standing, self.now_ms, self._wall_ms)
        return [Standing(place, stored, first[stored.path.name]) for stored in standing]

    def note(self) -> None:
        """Write down what is new. Raises OSError, but not where the disk is full: that delays only what is too old."""
        try:
            self._line.note()
            for each in self._sightings.values():
                each.note()
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
