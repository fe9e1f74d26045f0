"""Evidence: what the files of a directory tell of it where `accounting.id` is gone. Reads only."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from worker import journal
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


def _of_manifests(settings: DirectorySettings) -> Iterable[str]:
    bad: list[BadManifest] = []
    for place in places(settings):
        for directory in place.directories:
            for stored in islice(sealed_in(directory, place.event_type, bad), _ENOUGH):
                if stored.manifest and stored.manifest.reason != "replay":
                    yield stored.manifest.directory
