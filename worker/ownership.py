"""The two human answers where a directory is refused: this is the one, or this is another one (design section 6).

Both are for a directory in which nobody is at work, and change nothing on the server.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from worker import evidence, identity, journal, locks
from worker.durable import make_directory, sync_directory
from worker.errors import DirectoryRefused, Locked
from worker.identity import Identity, NotAnIdentity, Token
from worker.inventory import Place, places
from worker.location import Location
from worker.manifest import manifest_path
from worker.naming import Names
from worker.salvage import LOST, RECOVERED
from worker.settings import DirectorySettings, NameSettings
from worker.stream.directories import Claimed

ASIDE = "copied"


class Renewed(NamedTuple):
    """What became of a directory that is another one from now on."""

    identity: Identity
    was: str | None  # its id before
    aside: Path | None  # where what belongs to the other one stands now
    moved: int  # files and folders


def id_here(settings: DirectorySettings) -> str:
    """Return the id of `accounting.id`, or where that is gone the one that journals and manifests name.

    Raises DirectoryRefused where these name none or several, OSError.
    """
    if found := _identity(settings.path):
        return found.directory
    ids = sorted(evidence.directory_ids(settings))
    if len(ids) != 1:
        what = f"journals and manifests here name {', '.join(ids)}" if ids else "nothing here names a directory"
        raise DirectoryRefused(f"{settings.path}: {what}: say which it is: --id ID")
    return ids[0]


def adopt(settings: DirectorySettings, partition: str, directory: str, known: Claimed | None) -> Identity:
    """Say that this directory is the one with this id: the next start here supersedes every copy.

    `known` is the last start that the server knows. Raises DirectoryRefused, OtherPartition, Locked, OSError.
    """
    identity.require_id(directory)
    with _alone(settings.path):
        numbers = [known.number] if known else []
        if before := _identity(settings.path):
            identity.require_partition(settings.path, partition)
            numbers += [before.current.number, before.next.number]
        token = Token(max(numbers, default=0) + 1, secrets.token_hex(8))
        found = Identity(directory=directory, partition=partition, current=token, next=token)
        identity.replace(settings.path, found)
        return found


def begin_anew(settings: DirectorySettings, names: NameSettings, partition: str) -> Renewed:
    """Make a directory another one, with an id of its own. What the other one's workers had in hand is set aside.

    Its sealed files stay, and do not count here. An interrupted call is finished by the next one. Raises
    DirectoryRefused, Locked, OSError, DiskTrouble.
    """
    make_directory(settings.path)
    with _alone(settings.path):
        before = _identity(settings.path)
        aside = settings.path / ASIDE / (before.directory if before else "unknown")
        moved = sum(_set_aside(settings.path, each, aside) for each in _in_hand(settings, names))
        found = Identity(directory=secrets.token_hex(8), partition=partition)
        identity.replace(settings.path, found)
        return Renewed(found, before.directory if before else None, aside if moved else None, moved)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the only one here: no worker is at work, and none starts. Raises Locked, DirectoryRefused, OSError."""
    if not path.is_dir():
        raise DirectoryRefused(f"{path}: is no directory")
    with identity.locked(path):
        if busy := sorted(locks.at_work(path)):
            raise Locked(f"{path}: {', '.join(busy)} at work here: stop it first")
        yield


def _identity(path: Path) -> Identity | None:
    """Return who it is by `accounting.id`; None where that is gone, or cannot be read."""
    try:
        return identity.read(path)
    except NotAnIdentity:
        return None


def _in_hand(settings: DirectorySettings, names: NameSettings) -> Iterator[Path]:
    """Yield what only the directory's own workers can tell the state of."""
    records = (journal.last_record(settings.path, consumer) for consumer in journal.consumers(settings.path))
    recorded = {name for record in records if record for name in record.file_names}
    for place in places(settings):
        location = Location(place, Names(names, place.event_type, "-"), names.timezone, archiving=False)
        given_out = location.given_out() if place.open.is_dir() else ()
        yield from _unsealed(place, {*given_out, *recorded})
    for folder in (journal.FOLDER, RECOVERED, LOST):
        if (settings.path / folder).is_dir():
            yield settings.path / folder


def _unsealed(place: Place, names: set[str]) -> Iterator[Path]:
    """Yield the files of these names that stand in a location without a manifest."""
    for path in sorted(place.open.iterdir() if place.open.is_dir() else ()):
        is_file = path.is_file() and not path.is_symlink()
        if path.name in names and is_file and not manifest_path(path).exists():
            yield path


def _set_aside(path: Path, what: Path, aside: Path) -> int:
    """Move a file or folder, durably, to a name that is free."""
    target = aside / what.relative_to(path)
    make_directory(target.parent)
    number = 0
    while os.path.lexists(target):
        number += 1
        target = target.with_name(f"{what.name}.{number}")
    what.rename(target)
    sync_directory(target.parent)
    sync_directory(what.parent)
    return 1
