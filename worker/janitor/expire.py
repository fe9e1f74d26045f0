"""Expiry: files that were seen for long enough, or are too much together, go, and never what nobody else has.

Their manifests are noted in the catalogue before, for ever. The content goes first, the manifest last: one whose
content is gone and whose name stands in the catalogue is what a death in between left.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from worker.accounting_file import sync_directory
from worker.catalogue import append, expired
from worker.inventory import Place, Stored
from worker.janitor.held import held
from worker.janitor.sightings import sealed_ms
from worker.manifest import manifest_path
from worker.settings import JanitorSettings

_DAY_MS = 86_400_000


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


def expire(stored: Stored, place: Place) -> Stored:
    """Note a file in the catalogue, then remove it, and return what it was; raises Busy, OSError or DiskTrouble."""
    assert stored.manifest is not None  # noqa: S101  # only sealed files come here
    with held(stored, place):
        append(place, [stored.manifest])
        stored.content_path.unlink()
        _forget(stored)
    return stored


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
