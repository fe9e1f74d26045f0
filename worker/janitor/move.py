"""The move into the archive, of what the workers left in the location: mostly since the archive is a mount.

Content, then manifest, into the archive; then the content goes, then the manifest. Whatever the archive has is durable
before anything leaves the location. Across file systems: copied under a temporary name, fsynced, compared, linked.
"""

import errno
import os
from pathlib import Path

from worker import regular
from worker.durable import make_directory, sync_directory
from worker.errors import DiskTrouble
from worker.inventory import Place, Stored
from worker.janitor import durable
from worker.janitor.held import Unfit, held
from worker.manifest import manifest_path


def move(stored: Stored, place: Place) -> Stored:
    """Move a sealed file from the location to the archive, and return it there.

    Raises Busy, OSError, DiskTrouble where the archive is no other place, or Unfit where another file has its name, or
    its content is not what the manifest says.
    """
    manifest = stored.manifest
    assert manifest is not None  # noqa: S101  # only sealed files come here
    sha256 = manifest.compressed.sha256 if manifest.compressed else manifest.sha256
    target = place.archive / stored.path.name
    make_directory(place.archive)
    if place.archive.samefile(place.open):
        raise DiskTrouble(f"{place.archive}: is the location itself, by a link or a mount: nothing can be moved there")
    moved = stored._replace(path=target)
    with held(stored, place):
        _bring(stored.content_path, moved.content_path, sha256)
        beside = manifest_path(stored.path)
        _bring(beside, manifest_path(target), durable.digest(beside))
        sync_directory(place.archive)
        stored.content_path.unlink()
        beside.unlink(missing_ok=True)
        sync_directory(place.open)
    return moved


def finish(stored: Stored, place: Place) -> bool:
    """Remove the manifest whose content has left already; False where the archive does not have the file."""
    archived = stored._replace(path=place.archive / stored.path.name)
    if stored.path == archived.path or not manifest_path(archived.path).exists():
        return False
    manifest_path(stored.path).unlink(missing_ok=True)
    sync_directory(place.open)
    return True


def _bring(source: Path, target: Path, sha256: str) -> None:
    """Let a file stand under a second name, too; what stands there already must be the same, and no way to it."""
    if os.path.lexists(target):
        if not durable.is_regular(target) or not (target.samefile(source) or durable.digest(target) == sha256):
            raise Unfit(f"{target} stands in the way, and is another file")
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target, sha256)


def _copy(source: Path, target: Path, sha256: str) -> None:
    fresh = durable.temporary(target)
    with regular.opened(source) as content:
        durable.write_new(fresh, durable.chunks_of(content))
    if durable.digest(fresh) != sha256:
        fresh.unlink()
        raise Unfit("its content is not what its manifest says")
    durable.link_new(fresh, target)
