"""The files of a directory as they stood at one moment, while workers seal some and the janitor moves others.

Which files count is decided by the commit records of the snapshot: a file that they name counts by its record, every
other one by its manifest, standing or in the catalogue of the expired. A file that was sealed before the snapshot has
its manifest before the records forget it; so the sealed ones are listed before and after. What is only in the second
list, and in no record, was born and sealed in between, or right before: then everything is looked at again.

A record can outlive its file, where a worker died between sealing it and its next commit. So what had expired before
the snapshot counts by the catalogue in any case.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from worker import evidence, identity, journal
from worker.audit.finding import NotAudited
from worker.catalogue import expired
from worker.identity import Identity
from worker.inventory import Place, Stored, places, sealed, sealed_file, sealed_names, unsealed
from worker.manifest import BadManifest, Manifest
from worker.records import Record
from worker.settings import DirectorySettings
from worker.stream.snapshot import Snapshot

_TRIES = 30

#: Location and name of a file.
Name = tuple[Path, str]


class Files(Struct, frozen=True, kw_only=True):
    """The files of one location, at the moment of a snapshot."""

    place: Place
    sealed: Sequence[Stored]  # by name
    expired: Sequence[Manifest]
    open: Sequence[Stored]  # those that are rotated and not sealed included

    @property
    def rows(self) -> int:
        """Return how many rows they hold together."""
        return sum(each.rows for kind in (self.sealed, self.expired, self.open) for each in kind)


class View(Struct, frozen=True, kw_only=True):
    """A directory at the moment of a snapshot."""

    path: Path
    id: str
    files: Sequence[Files]  # of each location
    bad: Sequence[BadManifest]
    others: int  # files that belong to other directories, by their manifests; they do not count
    identity: Identity | None  # what it says of itself, after the snapshot
    journals: Mapping[str, Record]  # by consumer: what its journal says, before the snapshot
    missing_mounts: Sequence[Path]

    def of_type(self, event_type: str) -> list[Files]:
        """Return the files of one type."""
        return [files for files in self.files if files.place.event_type == event_type]


class Shelf:
    """A directory that is looked at, and what was read of it: each manifest once."""

    def __init__(self, settings: DirectorySettings, directory_id: str) -> None:
        self.path = settings.path
        self.id = directory_id
        self.places = {place.open: place for place in places(settings)}
        self.bad: list[BadManifest] = []
        self._journals: dict[str, Record] = {}
        self._known: dict[Name, Stored] = {}
        self._expired: dict[Path, list[Manifest]] = {}
        self._forgotten: set[Name] = set()  # files that an earlier snapshot named: sealed before the next one
        for location, place in self.places.items():
            self._known |= {(location, stored.path.name): stored for stored in sealed(place, self.bad)}

    def look(self) -> set[Name]:
        """Return what stands sealed; the manifests of those that are new are read."""
        names = {(location, name) for location, place in self.places.items() for name in sealed_names(place)}
        for location, name in names - self._known.keys():
            try:
                if stored := sealed_file(self.places[location], name):
                    self._known[location, name] = stored
            except BadManifest:
                continue  # found and told at the beginning
        return names & self._known.keys()

    def look_around(self) -> None:
        """Read the catalogue; after `look`, since a file is noted there before it goes. And the journals."""
        names = journal.consumers(self.path)
        told = {name: journal.last_record(self.path, name, self.id) for name in names}
        self._journals = {name: record for name, record in told.items() if record}
        self._expired = {location: list(expired(place)) for location, place in self.places.items()}

    def judge(self, snapshot: Snapshot, before: set[Name]) -> View | None:
        """Return the directory at the moment of a snapshot, None where that cannot be told this time."""
        gone = {
            (location, each.name)
            for location, listed in self._expired.items()
            for each in listed
            if self._is_mine(each)
        }
        recorded = dict(
            each for place in self.places for each in self._recorded(snapshot, place) if each[0] not in gone
        )
        fresh = self.look() - before - recorded.keys()
        unclear = fresh - self._forgotten
        standing = (before | fresh) - recorded.keys()
        self._forgotten |= recorded.keys()
        return None if unclear else self._view(standing, recorded)

    def _recorded(self, snapshot: Snapshot, location: Path) -> list[tuple[Name, Stored]]:
        files = unsealed(self.places[location], snapshot.records_of(self.id))
        return [((location, stored.path.name), stored) for stored in files]

    def _view(self, standing: set[Name], recorded: Mapping[Name, Stored]) -> View:
        mine = {name for name in standing if self._is_mine(self._known[name].manifest)}
        me = identity.read(self.path)
        return View(
            identity=me,
            journals=self._journals,
            missing_mounts=list(evidence.missing_mounts(self.path, me)),
            path=self.path,
            id=self.id,
            files=[
                Files(
                    place=place,
                    sealed=[self._known[name] for name in sorted(mine) if name[0] == location],
                    expired=[
                        each
                        for each in self._expired[location]
                        if self._is_mine(each) and (location, each.name) not in standing | recorded.keys()
                    ],
                    open=[stored for name, stored in sorted(recorded.items()) if name[0] == location],
                )
                for location, place in self.places.items()
            ],
            bad=self.bad,
            others=len(standing) - len(mine),
        )

    def _is_mine(self, manifest: Manifest | None) -> bool:
        return manifest is not None and manifest.directory == self.id


def settled(shelves: Sequence[Shelf], take: Callable[[], Snapshot]) -> tuple[Snapshot, list[View]]:
    """Take a snapshot and return it with the directories as they stood then. Raises NotAudited, OSError."""
    for _ in range(_TRIES):
        before = [shelf.look() for shelf in shelves]
        for shelf in shelves:
            shelf.look_around()
        snapshot = take()
        views = [shelf.judge(snapshot, names) for shelf, names in zip(shelves, before, strict=True)]
        if None not in views:
            return snapshot, [view for view in views if view is not None]
    raise NotAudited("files are sealed faster than they can be listed: audit in a calmer moment")
