"""Keeping aside what must not be lost silently: tails that are cut off, files that turned out shorter than committed.

`recovered/` holds rows that were appended but never acknowledged, so they stand (or will stand) in another file too;
`lost/` holds notes of committed rows that a file no longer has, and of entries that nobody read. Both are inside the
directory of accounting files.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from worker.accounting_file import AccountingFile, sync_directory, write_durably

_TAIL = re.compile(r"\.tail(\.[0-9]+)?\.json$")

_ENTRIES = "entries"
RECOVERED = "recovered"
LOST = "lost"


def _free(directory: Path, name: str) -> Path:
    """Return a path that is not taken: a file can be cut more than once."""
    directory.mkdir(exist_ok=True)
    path, number = directory / name, 0
    while os.path.lexists(path):
        number += 1
        path = directory / f"{name}.{number}"
    return path


def _note(path: Path, **facts: object) -> None:
    write_durably(path, msgspec.json.format(msgspec.json.encode(facts)) + b"\n")


def keep_tail(directory: Path, file: AccountingFile) -> Path:
    """Copy what stands beyond the committed length of a file to `recovered/`, durably, with a note beside it."""
    path = _free(directory / RECOVERED, f"{file.path.name}.tail")
    content = file.tail()
    _note(
        path.with_name(path.name + ".json"),
        file=str(file.path.relative_to(directory)),
        offset=file.state.length,
        bytes=len(content),
        why="appended but not acknowledged: these rows stand in another file, or will be read again",
    )
    write_durably(path, content)
    sync_directory(directory)
    return path


def keep_whole(directory: Path, file: AccountingFile, why: str) -> Path:
    """Copy what is committed of a file to `recovered/`, durably, with a note beside it."""
    path = _free(directory / RECOVERED, file.path.name)
    _note(
        path.with_name(path.name + ".json"), file=file.path.name, rows=file.state.rows, bytes=file.state.length, why=why
    )
    write_durably(path, file.content())
    sync_directory(directory)
    return path


def kept(directory: Path) -> list[Path]:
    """Return the notes on committed rows that were kept aside: those in `lost/`, and of whole files in `recovered/`."""
    notes = [*(directory / LOST).glob("*.json"), *(directory / RECOVERED).glob("*.json")]
    return sorted(note for note in notes if not _TAIL.search(note.name) and note not in lost_entries(directory))


def lost_entries(directory: Path) -> list[Path]:
    """Return the notes on entries that are gone from the streams without rows."""
    return sorted((directory / LOST).glob(f"{_ENTRIES}.*.json"))


def tails(directory: Path) -> list[Path]:
    """Return the notes on tails in `recovered/`: rows that were never acknowledged, so they stand elsewhere, too."""
    return sorted(note for note in (directory / RECOVERED).glob("*.json") if _TAIL.search(note.name))


def note_short(directory: Path, file: AccountingFile) -> Path:
    """Note in `lost/` that a file is shorter than what was committed, and move it there as it is."""
    path = _free(directory / LOST, file.path.name)
    _note(
        path.with_name(path.name + ".json"),
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


def note_lost_entries(directory: Path, name: str, facts: Mapping[str, object]) -> Path:
    """Note in `lost/` that entries of a stream are gone; a second note of that name replaces the first."""
    path = directory / LOST / f"{_ENTRIES}.{name}.json"
    path.parent.mkdir(exist_ok=True)
    _note(path, **facts)
    sync_directory(directory)
    return path
