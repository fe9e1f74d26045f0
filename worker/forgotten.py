"""Notes on what was forgotten: `<path>/forgotten/<ms>-<random>.json`, one a run with `--remove`.

A note is written before anything is removed, and again when all is done, with what became of each place. It does not
hold the address but a digest with a salt of its own: who has the address can prove that it is the one.
"""

import secrets
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from worker import regular
from worker.durable import make_directory, sync_directory, write_durably
from worker.erasure.matching import digest
from worker.errors import Unreadable

FOLDER = "forgotten"


class State(StrEnum):
    """What becomes of a place where the address stands."""

    FOUND = "found"  # --remove takes it out
    REMOVED = "removed"
    LEFT = "left"  # not removed; `text` says what to do, or when it goes
    TOLD = "told"  # cannot be looked at from here


class Standing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place where the address stands, or may stand."""

    kind: str
    where: str
    state: State
    count: int = 0  # rows, lines, entries or letters
    text: str = ""
    ids: Sequence[str] = ()  # of dead letters


class Note(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done, by whom, and why."""

    at_ms: int
    by: str  # user and host
    reason: str
    salt: str
    digest: str
    finished_ms: int | None = None  # None: it was interrupted
    places: Sequence[Standing] = ()


def begin(path: Path, address: str, reason: str, by: str) -> tuple[Path, Note]:
    """Note, durably, that an address (in its canonical spelling) is to be forgotten. Raises OSError."""
    now_ms, salt = time.time_ns() // 1_000_000, secrets.token_hex(16)
    note = Note(at_ms=now_ms, by=by, reason=reason, salt=salt, digest=digest(salt, address))
    file = path / FOLDER / f"{now_ms}-{secrets.token_hex(4)}.json"
    make_directory(file.parent)
    _write(file, note)
    sync_directory(path)
    return file, note


def finish(file: Path, note: Note, places: Sequence[Standing]) -> None:
    """Add to a note what became of each place. Raises OSError."""
    now_ms = time.time_ns() // 1_000_000
    _write(file, msgspec.structs.replace(note, finished_ms=now_ms, places=places))


def read(path: Path) -> dict[str, Note]:
    """Return the notes of a directory, by the names of their files. Raises OSError, and Unreadable for what is none."""
    found = {}
    for file in sorted((path / FOLDER).glob("*.json")):
        try:
            found[file.name] = msgspec.json.decode(regular.content(file), type=Note)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable(f"{file}: not written by `forget --remove`: {error}") from error
    return found


def _write(file: Path, note: Note) -> None:
    write_durably(file, msgspec.json.format(msgspec.json.encode(note)) + b"\n")
