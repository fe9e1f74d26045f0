"""Making one file what its record says, and keeping aside what that takes away (design section 5, steps 3 to 5).

Each function takes a file whose lock is held. What it is given to is in its result, so that the caller knows whether
the file is still there to be written on, or sealed.
"""

import logging
import os
from enum import Enum, auto
from pathlib import Path

import msgspec

from worker import archive, salvage
from worker.accounting_file import AccountingFile
from worker.catalogue import find
from worker.directory import Directory
from worker.errors import DiskTrouble
from worker.log import event
from worker.manifest import BadManifest, manifest_path
from worker.records import FileState, Record

_log = logging.getLogger(__name__)

_SWAPPED = "removed, renamed or replaced while it was open"


class Mended(Enum):
    """What became of a file."""

    WHOLE = auto()  # it holds what its record says, and nothing else
    SHORT = auto()  # rows that were committed are gone; its state says what is left, which is to be sealed
    OVER = auto()  # it was sealed before, and is closed; or there is nothing to seal, and it is kept in `lost/`


def cut_to_record(directory: Directory, event_type: str, file: AccountingFile, *, in_doubt: bool) -> Mended:
    """Cut a file to its committed length, keeping its tail.

    What is sealed was committed whole, and is never changed again: the server may have forgotten its record.
    """
    size, committed, is_sealed = file.size(), file.state.length, manifest_path(file.path).exists()
    if size != committed and is_sealed:
        event(_log, "file.forgotten", logging.ERROR, file=file.path, bytes=size, recorded_bytes=committed)
        finish_move(directory, event_type, file)
        return Mended.OVER
    if size < committed:
        return _keep_short(directory, event_type, file)
    if size > committed:
        kept = salvage.keep_tail(directory.path, file, in_doubt=in_doubt)
        level = logging.ERROR if in_doubt else logging.WARNING
        event(_log, "file.cut", level, file=file.path, bytes=size - committed, kept=kept, in_doubt=in_doubt)
    _tell_altered(directory, file)
    if size > committed or (file.is_doubted and not is_sealed):  # an earlier cut may not be durable
        file.cut()
    return Mended.WHOLE


def _tell_altered(directory: Directory, file: AccountingFile) -> None:
    """Say that the content is not what was committed. It stays as it is; its manifest will tell what it was."""
    if file.is_changed:
        file.forget_content()
    if file.has_committed_content():
        return
    file.is_changed = True
    why = "its content is not what was committed: somebody changed it before it was sealed"
    kept = salvage.note(
        directory.path, f"{file.path.name}.altered", file=str(file.path.relative_to(directory.path)),
        committed_rows=file.state.rows, committed_sha256=file.state.sha256, why=why,
    )  # fmt: skip
    event(_log, "file.altered", logging.ERROR, file=file.path, rows=file.state.rows, note=kept)


def _keep_short(directory: Directory, event_type: str, file: AccountingFile) -> Mended:
    """Keep the whole rows that a file still has; one that does not even have its header goes to `lost/`."""
    committed, size = file.state, file.size()
    left = _whole_rows(directory, event_type, file)
    if left is None:
        kept = salvage.note_short(directory.path, file)
        event(_log, "file.short", logging.ERROR, file=file.path, missing_bytes=committed.length - size, kept=kept)
        file.close()
        return Mended.OVER
    kept = salvage.note(
        directory.path, f"{file.path.name}.short", file=str(file.path.relative_to(directory.path)),
        committed_bytes=committed.length, found_bytes=size, committed_rows=committed.rows, found_rows=left.rows,
        why="the file is shorter than its committed length: rows that were acknowledged are gone",
    )  # fmt: skip
    event(_log, "file.short", logging.ERROR, file=file.path, missing_rows=committed.rows - left.rows, note=kept)
    file.acknowledge(left)
    file.cut()
    return Mended.SHORT


def _whole_rows(directory: Directory, event_type: str, file: AccountingFile) -> FileState | None:
    """Return the state of the whole rows that a short file has, None where its header is gone."""
    header = directory.header_of(event_type, file)
    if file.first_line() != header and header:
        return None
    length, lines, at = 0, 0, 0
    for piece in file.content(file.size()):
        lines += piece.count(b"\n")
        if b"\n" in piece:
            length = at + piece.rindex(b"\n") + 1
        at += len(piece)
    left = msgspec.structs.replace(file.state, length=length, rows=lines - bool(header), sha256=None)
    return left if left.rows >= 0 else None


def take_as_it_stands(directory: Directory, event_type: str, file: AccountingFile) -> int:
    """Let all whole rows of a file count, of which nobody knows how many are committed; returns how many that are."""
    file.state = msgspec.structs.replace(file.state, opened_ms=int(os.fstat(file.descriptor).st_mtime * 1000))
    found = _whole_rows(directory, event_type, file)
    if found is None:
        return 0
    file.acknowledge(found)
    if file.size() > found.length:
        salvage.keep_tail(directory.path, file, in_doubt=True)
    file.cut()
    kept = salvage.note(
        directory.path, f"{file.path.name}.doubt", file=str(file.path.relative_to(directory.path)), rows=found.rows,
        why="in doubt: neither the server nor a journal knows how many of these rows were acknowledged; all are sealed",
    )  # fmt: skip
    event(_log, "file.in_doubt", logging.ERROR, file=file.path, rows=found.rows, note=kept)
    return found.rows


def finish_move(directory: Directory, event_type: str, file: AccountingFile) -> None:
    """Close a file that has its manifest, after what of its seal and its move to the archive was interrupted."""
    archive.protect(file)
    if directory.is_archiving:
        archive.finish_move(file, directory.location_of(event_type, file.state))
    else:
        file.close()


def rescue(directory: Directory, event_type: str, file: AccountingFile) -> None:
    """Keep the committed rows of a file that somebody removed or swapped, while it can still be read; closes it.

    A manifest that was made for it describes nothing that stands here. One that was moved needs no rescue.
    """
    if archive.has(file, directory.location_of(event_type, file.state)):
        finish_move(directory, event_type, file)
        return
    if not file.state.rows and not os.path.lexists(file.path):  # perhaps only the end of its unlinking failed
        archive.discard(file)
        return
    manifest_path(file.path).unlink(missing_ok=True)
    kept = salvage.keep_whole(directory.path, file, _SWAPPED) if file.state.rows else None
    event(_log, "file.swapped", logging.ERROR, file=file.path, rows=file.state.rows, kept=kept)
    file.close()


def let_go(directory: Directory, file: AccountingFile, *, in_doubt: bool) -> None:
    """Unlink a new file that no record names; what it holds beyond its header is kept aside first.

    One with committed rows stays as it is, unlocked, for the scan.
    """
    if file.state.rows:
        event(_log, "file.unnamed", logging.ERROR, file=file.path, rows=file.state.rows)
        file.close()
        return
    if file.size() > file.state.length:
        kept = salvage.keep_tail(directory.path, file, in_doubt=in_doubt)
        event(_log, "file.unnamed", logging.ERROR, file=file.path, kept=kept)
    archive.discard(file)


def tell_gone(directory: Directory, event_type: str, state: FileState, path: Path) -> None:
    """Say that a recorded file is not there, or is another one; with its rows, that is noted in `lost/`.

    It is over where a manifest tells of it, standing or in the catalogue of the expired, or where it had no rows.
    """
    if is_over(directory, event_type, state):
        event(_log, "file.gone", logging.WARNING, type=event_type, file=state.name, rows=state.rows)
        return
    is_another = os.path.lexists(path)
    why = "another file stands under its name" if is_another else "it is not there"
    kept = salvage.note(
        directory.path, f"{state.name}.missing", file=str(path.relative_to(directory.path)),
        committed_rows=state.rows, committed_bytes=state.length, sha256=state.sha256,
        why=f"{why}, and no manifest tells of it: rows that were acknowledged are gone",
    )  # fmt: skip
    event(_log, "file.missing", logging.ERROR, type=event_type, file=path, rows=state.rows, why=why, note=kept)


def strangers(directory: Directory, record: Record) -> list[tuple[str, FileState]]:
    """Return the files that a record names, that stand there, and that this directory never gave out, with their types.

    What does not stand there may be gone, as after a restore of an older copy. Raises OSError.
    """
    there = (each for each in record.named if os.path.lexists(directory.path_of(*each)))
    return [each for each in there if not directory.gave_out(*each)]


def is_over(directory: Directory, event_type: str, state: FileState) -> bool:
    """Tell whether a file that is gone from its location was sealed, or unlinked because it had no rows.

    Names are never used twice. A manifest that was written elsewhere, or of fewer rows, tells nothing of this file.
    Raises DiskTrouble.
    """
    try:
        manifest = find(directory.place_of(event_type, state), state.name)
    except BadManifest:
        return False
    except OSError as error:
        raise DiskTrouble(f"{error.filename}: {error.strerror}") from error
    if manifest is None:
        return not state.rows
    return manifest.directory == directory.id and (manifest.sealed_bytes >= state.length or manifest.reason == "short")
