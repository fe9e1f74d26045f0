"""Keeping aside what must not be lost silently, each with a note beside it that says what is known of it.

`recovered/` holds tails that were cut off a file, and copies of files that somebody removed or replaced; `lost/` holds
notes of committed rows that a file no longer has, of rows of which nobody knows whether they count, and of entries
that nobody read. Both are inside the directory of accounting files. A tail that was not acknowledged comes again; one
that is in doubt may be the only copy of rows that were acknowledged.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from worker import regular
from worker.accounting_file import AccountingFile
from worker.durable import make_directory, read_range, sync_directory, write_durably

RECOVERED = "recovered"
LOST = "lost"

_TAIL = re.compile(r"\.tail(\.[0-9]+)?\.json$")
_ENTRIES = "entries"

_UNACKNOWLEDGED = "appended and not acknowledged: the server gives these rows out again"
_IN_DOUBT = (
    "appended, and the server has forgotten what it acknowledged: these rows may be the only copy, "
    "or stand in another file, or come again"
)
_SETTLED = "was in doubt: each of these rows was found in a sealed file of this directory"


class TailNote(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a tail in `recovered/`."""

    file: str  # that it was cut off, relative to the directory
    offset: int
    bytes: int
    sha256: str = ""  # not told by early versions
    series: str | None = None
    opened_ms: int = 0  # when that file was begun: its rows stand in no file that was sealed before
    in_doubt: bool = False
    why: str = ""


_tail_note = msgspec.json.Decoder(TailNote)


def keep_tail(directory: Path, file: AccountingFile, *, in_doubt: bool) -> Path:
    """Copy what stands beyond the committed length of a file to `recovered/`, durably, with a note beside it.

    A tail that was kept already is kept once, and so is one that goes on behind it: cutting it off may fail, and a
    commit may be refused, any number of times. Raises OSError, DiskTrouble.
    """
    digest = hashlib.sha256()
    for piece in file.tail():
        digest.update(piece)
    note = TailNote(
        file=str(file.path.relative_to(directory)), offset=file.state.length, bytes=file.size() - file.state.length,
        sha256=digest.hexdigest(), series=file.state.series, opened_ms=file.state.opened_ms, in_doubt=in_doubt,
        why=_IN_DOUBT if in_doubt else _UNACKNOWLEDGED,
    )  # fmt: skip
    known = list(_of_the_same(directory, file, note))
    if whole := next((content_of(path) for path, told in known if told.bytes >= note.bytes), None):
        return whole
    path = _free(directory / RECOVERED, f"{file.path.name}.tail")
    write_durably(path.with_name(path.name + ".json"), _json(note))
    write_durably(path, file.tail())
    sync_directory(directory)
    for shorter, _ in known:
        content_of(shorter).unlink()
        shorter.unlink()
    return path


def _of_the_same(directory: Path, file: AccountingFile, new: TailNote) -> Iterator[tuple[Path, TailNote]]:
    """Yield the notes on tails of a file that one begins with, or that begin with it. Raises OSError."""
    for path in tails(directory):
        told = read_tail_note(path)
        if told and (told.file, told.offset, told.opened_ms, told.in_doubt, told.series) == (
            new.file, new.offset, new.opened_ms, new.in_doubt, new.series,
        ) and _begins_alike(file, content_of(path), min(told.bytes, new.bytes)):  # fmt: skip
            yield path, told


def _begins_alike(file: AccountingFile, content: Path, size: int) -> bool:
    """Tell whether so many bytes of the tail of a file stand in another one. Raises OSError."""
    start = file.state.length
    try:
        with regular.opened(content) as other:
            pieces = read_range(file.descriptor, start, start + size)
            return all(piece == other.read(len(piece)) for piece in pieces)
    except FileNotFoundError:
        return False


def keep_whole(directory: Path, file: AccountingFile, why: str) -> Path:
    """Copy what is committed of a file to `recovered/`, durably, with a note beside it.

    Of a file that has become shorter, what is left of it. Raises OSError, DiskTrouble.
    """
    path = _free(directory / RECOVERED, file.path.name)
    kept = min(file.state.length, file.size())
    _note(path, file=file.path.name, rows=file.state.rows, bytes=file.state.length, kept_bytes=kept, why=why)
    write_durably(path, file.content(kept))
    sync_directory(directory)
    return path


def note_short(directory: Path, file: AccountingFile) -> Path:
    """Note in `lost/` that a file is shorter than what was committed, and move it there as it is. Raises OSError."""
    path = _free(directory / LOST, file.path.name)
    _note(
        path,
        file=str(file.path.relative_to(directory)),
        committed_bytes=file.state.length,
        found_bytes=file.size(),
        committed_rows=file.state.rows,
        why="the file is shorter than its committed length: rows that were acknowledged are gone",
    )
    os.link(file.path, path)
    sync_directory(path.parent)
    file.path.unlink()
    sync_directory(file.path.parent)
    sync_directory(directory)
    return path


def note(directory: Path, name: str, **facts: object) -> Path:
    """Note in `lost/`, durably, what is wrong with a file; said again, it is noted once. Raises OSError."""
    folder = directory / LOST
    content = _json(facts)
    for known in folder.glob(f"{name}*.json"):
        if regular.content(known) == content:
            return known
    make_directory(folder)
    path, number = folder / f"{name}.json", 0
    while os.path.lexists(path):
        number += 1
        path = folder / f"{name}.{number}.json"
    write_durably(path, content)
    sync_directory(directory)
    return path


def note_lost_entries(directory: Path, name: str, facts: Mapping[str, object]) -> Path:
    """Note in `lost/` that entries of a stream are gone; a second note of that name replaces the first."""
    path = directory / LOST / f"{_ENTRIES}.{name}"
    make_directory(path.parent)
    _note(path, **facts)
    sync_directory(directory)
    return path.with_name(path.name + ".json")


def kept(directory: Path) -> list[Path]:
    """Return the notes on committed rows that were kept aside: those in `lost/`, and of whole files in `recovered/`."""
    notes = [*(directory / LOST).glob("*.json"), *(directory / RECOVERED).glob("*.json")]
    return sorted(note for note in notes if not _TAIL.search(note.name) and note not in lost_entries(directory))


def lost_entries(directory: Path) -> list[Path]:
    """Return the notes on entries that are gone from the streams without rows."""
    return sorted((directory / LOST).glob(f"{_ENTRIES}.*.json"))


def tails(directory: Path) -> list[Path]:
    """Return the notes on tails in `recovered/`."""
    return sorted(note for note in (directory / RECOVERED).glob("*.json") if _TAIL.search(note.name))


def content_of(note_path: Path) -> Path:
    """Return where the rows of a tail stand, by its note."""
    return note_path.with_name(note_path.name.removesuffix(".json"))


def read_tail_note(path: Path) -> TailNote | None:
    """Return what a note on a tail says, None where that is none, or gone. Raises OSError."""
    try:
        return _tail_note.decode(regular.content(path))
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def settle(note_path: Path, tail: TailNote) -> None:
    """Note that a tail is not in doubt any more: each of its rows was found in a sealed file. Raises OSError."""
    write_durably(note_path, _json(msgspec.structs.replace(tail, in_doubt=False, why=_SETTLED)))


def _free(folder: Path, name: str) -> Path:
    """Return a path that is not taken: a file can be cut more than once. A note without its file is replaced."""
    make_directory(folder)
    path, number = folder / name, 0
    while os.path.lexists(path):
        number += 1
        path = folder / f"{name}.{number}"
    return path


def _note(path: Path, **facts: object) -> None:
    write_durably(path.with_name(path.name + ".json"), _json(facts))


def _json(facts: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(facts)) + b"\n"
