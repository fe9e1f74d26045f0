"""Writing files so that they stand whole under their names, or not at all.

A temporary file begins with `.janitor.`; only the janitor of the directory makes such files, under its lock, so what a
dead one left is removed by the next run.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from worker import regular
from worker.archive import READ_ONLY
from worker.durable import sync_directory, write_all

_PREFIX = ".janitor."
_CHUNK_BYTES = 1 << 20


def temporary(path: Path) -> Path:
    """Return the temporary name beside a file, with the same ending."""
    return path.with_name(_PREFIX + path.name)


def sweep(directory: Path) -> None:
    """Remove the temporary files of a janitor that died; raises OSError."""
    for entry in os.scandir(directory):
        if entry.name.startswith(_PREFIX) and entry.is_file(follow_symlinks=False):
            (directory / entry.name).unlink()


def write_new(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a new read-only file, durable but for its name; raises OSError or DiskTrouble, and leaves nothing then."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, READ_ONLY)
    try:
        for chunk in chunks:
            if chunk:
                write_all(descriptor, chunk)
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def link_new(path: Path, target: Path) -> None:
    """Give a temporary file its name, which nothing else may have; durable once the directory is synced."""
    os.link(path, target)
    path.unlink()


def replace(path: Path, content: bytes) -> None:
    """Replace a file's content: after a crash the old or the new one stands there, whole."""
    fresh = temporary(path)
    write_new(fresh, [content])
    fresh.replace(path)
    sync_directory(path.parent)


def chunks_of(content: IO[bytes]) -> Iterator[bytes]:
    """Yield what is left of a file in pieces."""
    while chunk := content.read(_CHUNK_BYTES):
        yield chunk


def is_regular(path: Path) -> bool:
    """Tell whether a name is a file's own: no link to one, nor what hangs who opens it. Raises OSError."""
    return stat.S_ISREG(path.lstat().st_mode)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as it stands."""
    with regular.opened(path) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
