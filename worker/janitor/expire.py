"""Expiry: files that are old enough, or too much together, go; the oldest first, and never what nobody else has.

Their manifests are noted in the catalogue before, for ever. The content goes first, the manifest last: one whose
content is gone and whose name stands in the catalogue is what a death in between left.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from worker.catalogue import append, expired
from worker.durable import sync_directory
from worker.inventory import Place, Stored
from worker.janitor.held import held
from worker.manifest import Manifest, manifest_path
from worker.settings import JanitorSettings

_DAY_MS = 86_400_000


class Due(NamedTuple):
    """A file whose time has come."""

    place: Place
    stored: Stored
    why: str  # age, or size of all


def due(standing: Iterable[tuple[Place, Stored]], settings: JanitorSettings, now_ms: int) -> Iterator[Due]:
    """Yield what has to go, the oldest first. With an `archive_url` only what was uploaded ever goes."""
    oldest_first = sorted(standing, key=lambda each: (sealed_ms(each[1].manifest), each[1].path.name))
    total = sum(_bytes(stored) for _, stored in oldest_first)
    for place, stored in oldest_first:
        if settings.archive_url and not (stored.manifest and stored.manifest.uploaded):
            continue
        too_old = settings.keep_days is not None and now_ms - sealed_ms(stored.manifest) >= settings.keep_days * _DAY_MS
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


def sealed_ms(manifest: Manifest | None) -> int:
    """Return when a file was sealed; early versions did not tell, so its last row stands for it."""
    if manifest is None:
        return 0
    return manifest.sealed_ms or max(manifest.opened_ms, manifest.last_time_ms or 0)


def _forget(stored: Stored) -> None:
    manifest_path(stored.path).unlink(missing_ok=True)
    sync_directory(stored.path.parent)


def _bytes(stored: Stored) -> int:
    manifest = stored.manifest
    if manifest is None:
        return 0
    return manifest.compressed.bytes if manifest.compressed else manifest.bytes
