"""Sealing: from a rotated file to one that is never changed again, with its manifest, in the archive.

Every step is idempotent and durable before the next one, so a crash anywhere is finished by doing it all again:
manifest → read-only bit → link both into the archive → unlink both here. Nothing is ever overwritten: a name that is
taken in the archive by another file leaves the sealed file where it is, and so does an archive on another file system:
the janitor copies it later. What it has begun to compress is its own to move, too. An archive that is the location
itself, by a link, has it already.
"""

import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from worker import modes, regular
from worker.accounting_file import AccountingFile
from worker.durable import make_directory, sync_directory, write_durably
from worker.errors import DiskTrouble
from worker.location import Location
from worker.manifest import ENDINGS, BadManifest, Manifest, Writer, decode, encode, manifest_path
from worker.records import Closing, FileState

READ_ONLY = modes.SEALED


def _manifest(file: AccountingFile, closing: Closing, columns: Sequence[str], writer: Writer, now_ms: int) -> Manifest:
    """Describe a file as it was committed: a byte that somebody changed since then is told by its SHA-256."""
    state: FileState = file.state
    event_type, reason = closing.event_type, closing.reason
    sha256 = state.sha256 or file.read_sha256()
    return Manifest(
        name=state.name, type=event_type, rows=state.rows, bytes=state.length, sha256=sha256, columns=columns,
        opened_ms=state.opened_ms, first_id=state.first_id, last_id=state.last_id,
        first_time_ms=state.first_time_ms, last_time_ms=state.last_time_ms,
        writer=writer.consumer, directory=writer.directory, reason=reason, version=writer.version,
        format=writer.format, separator=writer.separator, timezone=writer.timezone, guarded=writer.guarded,
        sealed_ms=now_ms, series=state.series,
    )  # fmt: skip


def seal(  # noqa: PLR0913
    file: AccountingFile, location: Location, closing: Closing, *,
    columns: Sequence[str], writer: Writer, archiving: bool, now_ms: int,
) -> Path:  # fmt: skip
    """Seal a file that is cut to its committed length, and archive it where archiving is on.

    Returns where it stands now. Raises DiskTrouble; the file is still named under `closing` then, and the next
    recovery does it again.
    """
    file.sync()
    try:
        if not has(file, location):  # else only the end of its move failed
            file.require_still_there()
            beside = manifest_path(file.path)
            if beside.exists():
                sync_directory(beside.parent)  # that may be what failed
            else:
                write_durably(beside, encode(_manifest(file, closing, columns, writer, now_ms)), READ_ONLY)
            protect(file)
        place = _move(file, location) if archiving else file.path
    except OSError as error:
        raise DiskTrouble(f"{file.path}: not sealed: {error.strerror}") from error
    if not file.stands_at(place) and not _is_copied(file, place):
        raise DiskTrouble(f"{file.path}: removed, renamed or replaced while it was sealed")
    return place


def protect(file: AccountingFile) -> None:
    """Take the permission to write away, durably; the janitor keeps its hands off a file that has it."""
    os.fchmod(file.descriptor, modes.sealed(os.fstat(file.descriptor).st_mode))
    os.fsync(file.descriptor)


def has(file: AccountingFile, location: Location) -> bool:
    """Tell whether a file stands in the archive with its manifest: whatever of its move is not done, it is sealed."""
    target = location.archive / file.path.name
    beside = manifest_path(target)
    return file.stands_at(target) and beside.exists() and not beside.is_symlink()


def finish_move(file: AccountingFile, location: Location) -> None:
    """Move a sealed file to the archive after a crash or an error in the middle of it, and close it."""
    _move(file, location)
    file.close()


def discard(file: AccountingFile) -> None:
    """Unlink a file that holds nothing but its header, and close it; another one that has its name stays.

    Raises DiskTrouble; then it is still open, and this can be done again.
    """
    try:
        if file.is_still_there():
            file.path.unlink()
        sync_directory(file.path.parent)
    except OSError as error:
        raise DiskTrouble(f"{file.path}: not unlinked: {error.strerror}") from error
    file.close()


def finish(path: Path, archive: Path) -> None:
    """Remove the manifest that an interrupted move left behind where the file itself is in the archive.

    A manifest without its file says nothing by itself: the file may be compressed.
    """
    left, moved = manifest_path(path), manifest_path(archive / path.name)
    if left.exists() and not path.exists() and moved.exists() and not archive.samefile(path.parent):
        left.unlink(missing_ok=True)
        sync_directory(path.parent)


def _move(file: AccountingFile, location: Location) -> Path:
    """Move a file and its manifest without ever replacing another; the manifest is the last to come and to leave."""
    path, target = file.path, location.archive / file.path.name
    if any(path.with_name(path.name + ending).exists() for ending in ENDINGS) or _is_rewritten(path):
        return path
    make_directory(location.archive)
    if location.archive.samefile(path.parent):  # a link back, or a bind mount: it stands there already
        return path
    if not has(file, location) and not _link_both(file, target):
        return path
    sync_directory(location.archive)
    if file.is_still_there():
        path.unlink()
    manifest_path(path).unlink(missing_ok=True)  # the janitor may have finished this move already
    sync_directory(path.parent)
    return target


def _is_rewritten(path: Path) -> bool:
    """Tell whether the manifest tells of another content: an address was taken out, and this is what it was before."""
    beside = manifest_path(path)
    try:
        return bool(decode(regular.content(beside), beside).forgotten)
    except (FileNotFoundError, BadManifest):
        return False


def _is_copied(file: AccountingFile, target: Path) -> bool:
    """Tell whether the same stands in the archive as another file, durably: a directory was copied in mid-move.

    Two names of one file become two files then, as `rsync` without `-H` makes them.
    """
    if target == file.path or target.is_symlink() or not target.is_file() or file.stands_at(target):
        return False
    with regular.opened(target) as content:
        os.fsync(content.fileno())
        return hashlib.file_digest(content, "sha256").hexdigest() == file.read_sha256()


def _link_both(file: AccountingFile, target: Path) -> bool:
    """Link a file and its manifest under their second names; False where that cannot be."""
    if _is_copied(file, target):
        return _link(manifest_path(file.path), manifest_path(target)) or manifest_path(target).is_file()
    if not _link(file.path, target):
        return False
    if not file.stands_at(target):  # what was linked has replaced it
        target.unlink()
        return False
    return _link(manifest_path(file.path), manifest_path(target))


def _link(path: Path, target: Path) -> bool:
    """Link a file under a second name; False where another file has it, or it is on another file system."""
    try:
        os.link(path, target)
    except FileExistsError:
        return os.path.samestat(target.lstat(), path.lstat())
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True
