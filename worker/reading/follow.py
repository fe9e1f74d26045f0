"""Following: each row once, as it is committed, while files rotate, are archived, compressed and expire.

What was shown of a file is its committed length, so a file that goes on under another name, or in another form, goes on
where it was. Nothing survives the process: who follows again begins with what is committed then.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from worker.inventory import Place, Stored, sealed_file, sealed_names, unsealed
from worker.manifest import BadManifest
from worker.reading.search import Found, by_start
from worker.records import Record

#: So often a directory is listed once it has changed: its time of change may be too coarse to tell the next one.
_LISTINGS = 3

_Key = tuple[Path, str]


class Follower:
    """Tells what was committed since it was last asked.

    `read_records` returns the directory's commit records, and may raise StreamUnavailable: then nothing is forgotten.
    """

    def __init__(self, places: Sequence[Place], read_records: Callable[[], list[Record]]) -> None:
        self._places = places
        self._read_records = read_records
        self._listings = {place.open: Listing(place) for place in places}
        self._shown: dict[_Key, int] = {}  # files that are not known to be sealed, up to where
        self._finished: dict[Path, set[str]] = {place.open: set() for place in places}  # sealed ones, by name
        self._refused: set[Path] = set()  # what is no manifest or cannot be read, told once
        self.bad: list[BadManifest | OSError] = []  # those of the last poll

    def begin(self) -> list[Found]:
        """Return the files as they stand now; what they hold counts as shown."""
        return by_start(found for found, _ in self.poll())

    def poll(self) -> list[tuple[Found, int]]:
        """Return the files that have grown, each with the length that was shown before."""
        records = self._read_records()  # before the sealed ones: none is missed between the two
        self.bad.clear()
        grown = []
        for place in self._places:
            for stored in self._unfinished(place, records):
                shown = self._note(place, stored)
                if stored.length != shown and stored.rows:
                    # Shorter: the server forgot commits, and what is behind that length is written again.
                    grown.append((Found(place, stored), min(shown, stored.length)))
        return grown

    def _unfinished(self, place: Place, records: Sequence[Record]) -> list[Stored]:
        """Return the files that may have grown: those that records name, and those sealed since; each once."""
        finished = self._finished[place.open]
        files = {stored.path.name: stored for stored in unsealed(place, records) if stored.path.name not in finished}
        if self._listings[place.open].is_due():
            files |= self._sealed(place, self._sealed_names(place) - finished)
        return list(files.values())

    def _sealed_names(self, place: Place) -> set[str]:
        try:
            return sealed_names(place)
        except OSError as error:
            self._refuse(place.open, error)
            return set()

    def _refuse(self, path: Path, error: BadManifest | OSError) -> None:
        """Tell once what is left out."""
        if path not in self._refused:
            self.bad.append(error)
        self._refused.add(path)

    def _sealed(self, place: Place, names: Iterable[str]) -> dict[str, Stored]:
        """Return the sealed files of these names that have not expired."""
        files = {}
        for name in names:
            try:
                stored = sealed_file(place, name)
            except (BadManifest, OSError) as error:
                self._refuse(place.open / name, error)
                continue
            if stored:
                files[name] = stored
        return files

    def _note(self, place: Place, stored: Stored) -> int:
        """Note how far a file is shown once this is; returns how far it was."""
        key = (place.open, stored.path.name)
        shown = self._shown.pop(key, 0)
        if stored.manifest:
            self._finished[place.open].add(stored.path.name)
        else:
            self._shown[key] = stored.length
        return shown


class Listing:
    """Tells whether the sealed files of a type need to be listed again."""

    def __init__(self, place: Place) -> None:
        self._directories = place.directories
        self._changed_ns: list[int | None] = []
        self._left = 0

    def is_due(self) -> bool:
        """Tell whether names were added or removed lately."""
        changed_ns = [_changed_ns(directory) for directory in self._directories]
        if changed_ns != self._changed_ns:
            self._changed_ns = changed_ns
            self._left = _LISTINGS
        self._left -= 1
        return self._left >= 0


def _changed_ns(directory: Path) -> int | None:
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return None
