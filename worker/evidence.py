"""Evidence: what stands in a directory, and tells which one it is or whether all of it is there. Reads only."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from worker import journal
from worker.identity import Identity
from worker.inventory import places, sealed_in
from worker.manifest import BadManifest
from worker.settings import DirectorySettings

_ENOUGH = 20  # manifests of a place


def directory_ids(settings: DirectorySettings) -> set[str]:
    """Return the ids of directories that journals and manifests here name. Raises OSError."""
    if not settings.path.is_dir():
        return set()
    return {*journal.directory_ids(settings.path), *_of_manifests(settings)}


def has_files(place: Path) -> bool:
    """Tell whether there is a sealed accounting file in a directory. Raises OSError."""
    return any(True for _ in sealed_in(place, "", []))


def missing_mounts(path: Path, known: Identity | None) -> Iterator[Path]:
    """Yield the places that were on volumes of their own, by what a directory says of itself, and are not now.

    One that was moved to the directory's own volume has its files. Raises OSError.
    """
    for name in known.mounts if known else ():
        place = path / name
        if not is_mounted(place, path) and not has_files(place):
            yield place


def is_mounted(place: Path, path: Path) -> bool:
    """Tell whether a place is on another device than the directory. Raises OSError."""
    try:
        return place.stat().st_dev != path.stat().st_dev
    except FileNotFoundError:
        return False


def _of_manifests(settings: DirectorySettings) -> Iterable[str]:
    bad: list[BadManifest] = []
    for place in places(settings):
        for directory in place.directories:
            for stored in islice(sealed_in(directory, place.event_type, bad), _ENOUGH):
                if stored.manifest and stored.manifest.reason != "replay":
                    yield stored.manifest.directory
