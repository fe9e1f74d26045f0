"""The directory of accounting files, as one consumer of this process holds it.

What survives a crash: who it is (`identity`), the series of its files (`series`), and the books of names of its
locations. Nothing is made in a directory that is not the one, or not mounted.
"""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import msgspec

from schemas.events import TYPES
from worker import evidence, identity, journal, locks, process_id, series
from worker.accounting_file import AccountingFile
from worker.durable import make_directory
from worker.errors import DirectoryRefused, DiskTrouble, PlaceTaken
from worker.identity import Identity
from worker.inventory import Place, place_of, places
from worker.location import Location
from worker.naming import Names
from worker.records import FileState
from worker.series import Series
from worker.settings import DirectorySettings, NameSettings, RowSettings

_TOLD_AT_MOST = 1000


class Directory:
    """The directory at `path`, held by one consumer of this process."""

    def __init__(  # noqa: PLR0913
        self, settings: DirectorySettings, names: NameSettings, rows: RowSettings, consumer: str, *,
        partition: str, archiving: bool,
    ) -> None:  # fmt: skip
        """Make the directories and take the consumer's lock.

        Raises OtherPartition, PlaceTaken and DirectoryRefused, before anything is touched, Locked, or DiskTrouble.
        """
        self.path = settings.path
        self.consumer = consumer
        self.holder = process_id.mine()
        self.is_archiving = archiving
        self._settings = settings
        self._names = names
        self._told: dict[str, None] = {}
        self.born_into = {event_type: _series(settings, rows, event_type) for event_type in TYPES}  # new files
        try:
            identity.require_partition(self.path, partition)
            self._refuse_what_lost_its_identity()
            self._refuse_places_of_other_types()
            self._require_mounts()
            make_directory(self.path)
            self._lock = locks.ConsumerLock(self.path, consumer, self.holder)
            self.id = identity.make(self.path, partition).directory
            self._prepare()
        except OSError as error:
            raise DiskTrouble(f"{error.filename}: {error.strerror}") from error

    def _prepare(self) -> None:
        """Make the places of new files, and let everybody know how these look."""
        for each in self.born_into.values():
            self._location(each).prepare()
            series.keep(self.path, each)
        self._note_mounts()

    # Where files stand

    @cached_property
    def locations(self) -> Mapping[str, Location]:
        """Return where new files are made, by type."""
        return {event_type: self._location(each) for event_type, each in self.born_into.items()}

    def all_locations(self) -> list[tuple[str, Location]]:
        """Return every place where open files may stand, with their types: also those of other configurations."""
        return [(place.event_type, self._location_at(place)) for place in places(self._settings)]

    def series_of(self, event_type: str, state: FileState) -> Series | None:
        """Return the series that a file was born into, None where nothing tells."""
        found = self._known_series.get(state.series or "")
        if found is None and state.series:
            del self._known_series  # another worker of the directory may have been configured anew
            found = self._known_series.get(state.series)
        return found if found and found.type == event_type else None

    def location_of(self, event_type: str, state: FileState) -> Location:
        """Return where a file stands, by its series; in the configured place where nothing tells."""
        return self._location(self.series_of(event_type, state) or self.born_into[event_type])

    def path_of(self, event_type: str, state: FileState) -> Path:
        """Return where a file that a record names stands, or stood. Only what was given out may be opened there."""
        return self.location_of(event_type, state).path / state.name

    def gave_out(self, event_type: str, state: FileState) -> bool:
        """Tell whether this directory gave the name of a file out: its book of names knows it, or a journal.

        A record tells nothing of it, since whoever can write to the server can write one. Raises OSError.
        """
        if state.name in self.location_of(event_type, state).given_out():
            return True
        journals = (journal.last_record(self.path, consumer) for consumer in journal.consumers(self.path))
        return any(state.name in record.names_of(event_type) for record in journals if record)

    def place_of(self, event_type: str, state: FileState) -> Place:
        """Return the same with all archives that the location ever had."""
        return self.location_of(event_type, state).place

    def layout_of(self, event_type: str, file: AccountingFile) -> Series:
        """Return how the rows of a file look: by its series, else the first one known whose header it has.

        Raises OSError.
        """
        if found := self.series_of(event_type, file.state):
            return found
        configured = self.born_into[event_type]
        known = [each for each in self._known_series.values() if each.type == event_type]
        line = file.first_line()
        return next((each for each in (configured, *known) if each.header == line), configured)

    def header_of(self, event_type: str, file: AccountingFile) -> bytes:
        """Return the header line that a file began with; empty for a format without. Raises OSError."""
        return self.layout_of(event_type, file).header

    @cached_property
    def _known_series(self) -> Mapping[str, Series]:
        return {each.id: each for each in self.born_into.values()} | dict(series.load(self.path))

    def _location(self, each: Series) -> Location:
        """Return where the files of a series stand, with every archive that the location ever had."""
        mine = place_of(self.path, each)
        same = (place for place in places(self._settings) if place[:2] == mine[:2])  # type and location
        known = next(same, mine)
        earlier = (archive for archive in known.directories[1:] if archive != mine.archive)
        return self._location_at(known._replace(archive=mine.archive, earlier=tuple(earlier)))

    def _location_at(self, place: Place) -> Location:
        names = Names(self._names, place.event_type, self.consumer)
        others = [each.open for each in places(self._settings) if each.event_type == place.event_type]
        return Location(place, names, self._names.timezone, archiving=self.is_archiving, others=others)

    # What it is

    def identity(self) -> Identity:
        """Return who it is now. Raises DiskTrouble where that is not this directory any more."""
        try:
            found = identity.read(self.path) if (self.path / identity.NAME).exists() else None
        except OSError as error:
            raise DiskTrouble(f"{self.path}: {error}: is its volume mounted?") from error
        if found is None or found.directory != self.id:
            known = found.directory if found else None
            raise DiskTrouble(f"{self.path}: directory id is {known}, expected {self.id}: is its volume mounted?")
        return found

    def check(self) -> None:
        """Raise DiskTrouble where this is not the directory any more, is read-only, or has too little room.

        A volume that is not mounted leaves an empty directory behind: nothing may be made in it.
        """
        self.identity()
        try:
            self._require_mounts()
            for location in self.locations.values():
                make_directory(location.path)
            room = os.statvfs(self.path)
        except OSError as error:
            raise DiskTrouble(f"{self.path}: {error}: is its volume mounted?") from error
        if room.f_flag & os.ST_RDONLY:
            raise DiskTrouble(f"{self.path}: mounted read-only")
        free_bytes = room.f_bavail * room.f_frsize
        if free_bytes < self._settings.min_free_bytes:
            expected = self._settings.min_free_bytes // 1_000_000
            message = f"{self.path}: {free_bytes // 1_000_000} MB free, expected at least {expected}"
            raise DiskTrouble(message)

    def prove_writable(self, size: int) -> None:
        """Prove, in each location, that so many bytes can be made durable. Raises DiskTrouble."""
        for location in self.locations.values():
            location.prove_writable(self.consumer, size)

    def is_news(self, what: str) -> bool:
        """Tell whether something is said for the first time by this process; the last ones that were are kept."""
        if what in self._told:
            return False
        self._told[what] = None
        if len(self._told) > _TOLD_AT_MOST:
            del self._told[next(iter(self._told))]
        return True

    def release(self) -> None:
        """Give the consumer's lock up."""
        self._lock.release()

    def _refuse_what_lost_its_identity(self) -> None:
        if identity.read(self.path) is None and (found := evidence.directory_ids(self._settings)):
            ids = ", ".join(sorted(found))
            raise DirectoryRefused(
                f"{self.path}: {identity.NAME} is gone, and files of the directory {ids} stand here: put it back, or "
                f"say that this is the one: haraka-accounting directory adopt"
            )

    def _refuse_places_of_other_types(self) -> None:
        """Raise PlaceTaken where files of one type would stand among those of another one, of an earlier ini."""
        known = series.load(self.path).values()
        for mine in self.born_into.values():
            for other in known:
                if other.type != mine.type and (
                    taken := {mine.location, mine.archive} & {other.location, other.archive}
                ):
                    raise PlaceTaken(
                        f"{self.path / min(taken)}: the place of {other.type} by an earlier configuration, and of "
                        f"{mine.type} by this one: expected one where no files of another type ever stood"
                    )

    def _require_mounts(self) -> None:
        """Raise DiskTrouble where a place was on a volume of its own, and that is not mounted now."""
        for place in evidence.missing_mounts(self.path, identity.read(self.path)):
            raise DiskTrouble(f"{place}: was on a volume of its own, which is not mounted")

    def _note_mounts(self) -> None:
        """Remember, durably, which places are on volumes of their own."""
        with identity.locked(self.path):
            found = self.identity()
            here = {place for each in places(self._settings) for place in (each.open, each.archive)}
            mounts = sorted(
                str(place.relative_to(self.path)) for place in here if evidence.is_mounted(place, self.path)
            )
            if tuple(mounts) != found.mounts:
                identity.write(self.path, msgspec.structs.replace(found, mounts=tuple(mounts)))


def _series(settings: DirectorySettings, rows: RowSettings, event_type: str) -> Series:
    location = settings.location[event_type]
    return Series(
        type=event_type, location=location, archive=f"{location}/{settings.archive_to[event_type]}",
        format=rows.format, separator=rows.separator, timezone=str(rows.timezone), guarded=rows.guarded,
        columns=tuple(rows.columns[event_type]),
    )  # fmt: skip
