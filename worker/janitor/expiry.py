"""Expiry over all files of a directory: which are seen for too long, or too much together, and their removal.

Owns what the janitor knows of their ages. A run has looked at those before it removes anything.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from worker.catalogue import expired
from worker.inventory import Place, Stored
from worker.janitor.ages import Ages
from worker.janitor.attempts import Attempts
from worker.janitor.copies import Copies
from worker.janitor.expire import Standing, due, expire
from worker.log import event
from worker.passed_time import Reading
from worker.settings import JanitorSettings

_log = logging.getLogger("worker.janitor")

Files = Callable[[Place], Iterable[Stored]]  # those of a type that stand where they stay


class Expiry:
    """The expiry of one directory's files."""

    def __init__(self, path: Path, settings: JanitorSettings, attempts: Attempts, files: Files) -> None:
        self._path = path
        self._places: Sequence[Place] = ()  # as of the last look
        self._settings = settings
        self._attempts = attempts
        self._files = files
        self._ages = Ages(path)
        self._is_wanted = settings.keep_days is not None or settings.keep_bytes is not None

    def look(self, places: Sequence[Place], reading: Reading, *, trust_clock: bool = False) -> int:
        """Bring the passed time up to now, begin the lists of sightings that there are not yet, and return that time.

        Raises OSError.
        """
        self._places = places
        self._ages.look(places, reading, trust_clock=trust_clock)
        for place in self._places:
            if self._is_wanted and self._ages.begins(place):
                self._aged(place)
        return self._ages.now_ms

    def note(self) -> None:
        """Write down what was seen. Raises OSError."""
        self._ages.note()

    def remove_due(self, copies: Callable[[], Copies] | None) -> Iterator[Stored]:
        """Remove what is due, and yield each file that is gone; with `copies`, only what has one."""
        if not self._is_wanted:
            return
        standing = [each for place in self._places for each in self._aged(place)]
        self._attempts.make("note", self._path, self.note)  # not in a run that is to stop, and has not seen all
        noted: dict[str, set[str]] = {}
        for place, stored, why in due(standing, self._settings, self._ages.now_ms):
            work = partial(self._remove, stored, place, copies, noted)
            if gone := self._attempts.make("expire", stored.path, work):
                event(_log, "file.expired", file=gone.content_path, rows=gone.rows, why=why)
                yield gone

    def _remove(
        self, stored: Stored, place: Place, copies: Callable[[], Copies] | None, noted: dict[str, set[str]]
    ) -> Stored:
        catalogue = str(place.open)
        if catalogue not in noted:
            noted[catalogue] = {manifest.name for manifest in expired(place)}
        return expire(stored, place, copies() if copies else None, noted[catalogue])

    def _aged(self, place: Place) -> list[Standing]:
        """Return the files of a type that can expire; none where its directory is not made yet."""
        return self._ages.of(place, list(self._files(place))) if place.open.is_dir() else []
