"""Expiry: files that were seen for long enough, or are too much together, go, and never what is not as it was sealed.

Where files are copied to a store, one goes only if the store has it at that moment: asked before, and again while the
file is away from its name, since a copy that is the file itself (the store serves this very directory) is none.

Their manifests are noted in the catalogue before, for ever. The content goes first, the manifest last: one whose
content is gone and whose name stands in the catalogue is what a death in between left. Content that is away from its
name is what a death left before that, and gets it back.
"""

import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from worker.catalogue import append, expired
from worker.durable import sync_directory
from worker.errors import AccountingError
from worker.inventory import Place, Stored
from worker.janitor.copies import Copies
from worker.janitor.held import Unfit, held, require_as_sealed, version
from worker.janitor.sightings import sealed_ms
from worker.manifest import manifest_path
from worker.settings import JanitorSettings

_DAY_MS = 86_400_000
_ASIDE = ".expiring."


class Standing(NamedTuple):
    """A sealed file, and since when it has been seen, by passed time."""

    place: Place
    stored: Stored
    since_ms: int


class Due(NamedTuple):
    """A file whose time has come."""

    place: Place
    stored: Stored
    why: str  # age, or size of all


def due(standing: Iterable[Standing], settings: JanitorSettings, now_ms: int) -> Iterator[Due]:
    """Yield what has to go, the oldest first. With an `archive_url` only what was uploaded ever goes."""
    oldest_first = sorted(
        standing, key=lambda each: (each.since_ms, sealed_ms(each.stored.manifest), each.stored.path.name)
    )
    total = sum(_bytes(each.stored) for each in oldest_first)
    for place, stored, since_ms in oldest_first:
        if settings.archive_url and not (stored.manifest and stored.manifest.uploaded):
            continue
        too_old = settings.keep_days is not None and now_ms - since_ms >= settings.keep_days * _DAY_MS
        too_much = settings.keep_bytes is not None and total > settings.keep_bytes
        if too_old or too_much:
            total -= _bytes(stored)
            yield Due(place, stored, "age" if too_old else "size")


def expire(stored: Stored, place: Place, copies: Copies | None = None, noted: Container[str] = ()) -> Stored:
    """Note a file in the catalogue, unless it is `noted` there, then remove it, and return what it was.

    Raises Busy, OSError, DiskTrouble, Unfit where it is not what its manifest says, StoreTrouble where it has no copy.
    """
    as_sealed = require_as_sealed(stored)
    if copies:
        stored = copies.prove(stored, place)
    assert stored.manifest is not None  # noqa: S101  # only sealed files come here
    with held(stored, place):
        if version(stored.content_path) != as_sealed:
            raise Unfit(f"{stored.content_path.name} changed while it was looked at")
        if stored.path.name not in noted:
            append(place, [stored.manifest])
        aside = stored.content_path.with_name(_ASIDE + stored.content_path.name)
        stored.content_path.rename(aside)
        if copies:
            try:
                copies.require_without(stored, aside)
            except (AccountingError, OSError):
                _put_back(aside)
                raise
        aside.unlink()
        _forget(stored)
    return stored


def put_back(directory: Path) -> None:
    """Give the files their names back that a death left away from them. Raises OSError."""
    for entry in os.scandir(directory):
        if entry.name.startswith(_ASIDE) and entry.is_file(follow_symlinks=False):
            _put_back(directory / entry.name)


def _put_back(aside: Path) -> None:
    os.link(aside, aside.with_name(aside.name.removeprefix(_ASIDE)))  # never over another file
    aside.unlink()
    sync_directory(aside.parent)


def finish(stored: Stored, place: Place) -> bool:
    """Remove the manifest whose content has expired already; False where the catalogue does not have it."""
    if not any(manifest.name == stored.path.name for manifest in expired(place)):
        return False
    _forget(stored)
    return True


def _forget(stored: Stored) -> None:
    manifest_path(stored.path).unlink(missing_ok=True)
    sync_directory(stored.path.parent)


def _bytes(stored: Stored) -> int:
    manifest = stored.manifest
    if manifest is None:
        return 0
    return manifest.compressed.bytes if manifest.compressed else manifest.bytes
