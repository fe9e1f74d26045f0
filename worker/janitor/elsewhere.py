"""Elsewhere: whether a `file:` store is another place than the directory itself, and the one that it was.

A copy that is the file itself, by whatever name (a symbolic link, a hard link, a bind mount, the same directory mounted
twice), is none, and one inside the directory goes with it. A store whose volume is not mounted is an empty directory:
copies would be made on the disk below. So a store gets a mark, and a directory remembers the marks of its stores.
"""

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec

from worker import regular
from worker.durable import write_durably
from worker.inventory import Place
from worker.janitor.store import StoreTrouble

_MARK = ".accounting-store"
_MARKS = ".stores"  # of the directory: by URL

_marks = msgspec.json.Decoder(dict[str, str])


class Elsewhere:
    """Guards a directory against stores of this machine."""

    def __init__(self, directory: Path, places: Iterable[Place]) -> None:
        self._directory = directory
        self._roots = [directory, *(at for place in places for at in place.directories)]

    @cached_property
    def _own(self) -> frozenset[tuple[int, int]]:
        return frozenset(identity for root in self._roots for identity in _directories(root))

    def require_store(self, root: Path, url: str) -> None:
        """Raise StoreTrouble where a store lies inside the directory, or is not the one that it was; OSError."""
        self._require_outside(root)
        marks = self._marks()
        found = _read(root / _MARK)
        if url in marks and found != marks[url]:
            raise StoreTrouble(
                f"{root}: is not the store that it was, its mark {_MARK} is missing or another one: is its volume "
                f"mounted? Where it is to begin anew, remove {self._directory / _MARKS}"
            )
        if found is None:
            root.mkdir(parents=True, exist_ok=True)
            found = secrets.token_hex(8)
            write_durably(root / _MARK, f"{found}\n".encode())
        if url not in marks:
            write_durably(self._directory / _MARKS, msgspec.json.encode({**marks, url: found}) + b"\n")

    def require_copy(self, copy: Path, original: Path) -> None:
        """Raise StoreTrouble where a copy is, or would be, the file itself or inside the directory. Raises OSError."""
        self._require_outside(copy)
        with suppress(FileNotFoundError):
            found = copy.stat()
            if not stat.S_ISREG(found.st_mode):
                raise StoreTrouble(f"{copy}: is no regular file")
            if _is_same_file(found, original.stat()):
                raise StoreTrouble(f"{copy}: is {original} itself, under another name: expected a store elsewhere")

    def _require_outside(self, path: Path) -> None:
        real = path.resolve()
        if any(_identity(at) in self._own for at in (real, *real.parents)):
            raise StoreTrouble(f"{path}: lies inside {self._directory}: expected a store elsewhere")

    def _marks(self) -> dict[str, str]:
        with suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return _marks.decode(regular.content(self._directory / _MARKS))
        return {}


def _directories(root: Path) -> Iterator[tuple[int, int]]:
    """Yield what tells each directory below a root from all others of this machine, whatever path leads there."""
    for path, _, _ in os.walk(root):
        if identity := _identity(Path(path)):
            yield identity


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Compare two files without regard to the device: the same file has another one where it is mounted twice."""
    facts = [(each.st_ino, each.st_size, each.st_mtime_ns) for each in (one, other)]
    return facts[0] == facts[1]


def _read(path: Path) -> str | None:
    try:
        return regular.content(path).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
