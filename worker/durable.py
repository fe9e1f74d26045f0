"""Writing durably: what these functions return from is still there after a power cut."""

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from worker import modes

_CHUNK_BYTES = 1 << 20


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: creating, linking and unlinking are not until this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, and durable that they are there."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(modes.DIRECTORY, exist_ok=True)
        sync_directory(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write with one call; a short write raises OSError as well, since the disk is full or failing.

    `data` has less than 2 GiB: one call writes no more.
    """
    written = os.write(descriptor, data)
    if written != len(data):
        raise OSError(errno.ENOSPC, f"short write: {written} of {len(data)} bytes")


def read_range(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Yield what stands between two offsets of a file, in pieces: one call reads at most 2 GiB.

    Raises OSError, also where the file is shorter.
    """
    while start < end:
        piece = os.pread(descriptor, min(_CHUNK_BYTES, end - start), start)
        if not piece:
            raise OSError(errno.EIO, f"ends at {start}, expected {end} bytes")
        start += len(piece)
        yield piece


def write_durably(path: Path, content: bytes | Iterable[bytes], mode: int = modes.FILE) -> None:
    """Write a whole file so that after a crash either the old or the new content stands there.

    Raises OSError with the name that is written: what is told of a temporary one would be another thing each time.
    """
    # Not the process id: containers that share a volume can have the same.
    temporary = path.with_name(f".{path.name.lstrip('.')}.{secrets.token_hex(4)}.tmp")
    try:
        write_new(temporary, content, mode)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_new(path: Path, content: bytes | Iterable[bytes], mode: int = modes.FILE) -> None:
    """Write a file that is not there yet, durable but for its name; nothing is left where that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        for piece in (content,) if isinstance(content, bytes) else content:
            write_all(descriptor, piece)
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
