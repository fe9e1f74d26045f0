"""Regular files: opened without waiting, and read up to a bound, whatever somebody put under their names.

A pipe would be waited for, a device may have no end, and a few bytes that are compressed can hold one line of any
length. All of these are OSErrors that name the path: what is told of a file that cannot be read.
"""

import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from os import close as close_file
from os import open as open_file
from pathlib import Path
from typing import IO, cast

#: Bytes of a file that is read as a whole, such as a manifest or a note.
MOST_BYTES = 64 << 20
#: Bytes of a line. No row has so many: the plugin cuts each value at 8192.
LONGEST_LINE_BYTES = 16 << 20
#: Bytes of a line at which a file is given up: nothing that was ever published has so many.
ENDLESS_LINE_BYTES = 1 << 30


def opened(path: Path, buffering: int = -1) -> BufferedReader:
    """Open a regular file for reading. Raises OSError, for whatever else it is too."""
    return cast("BufferedReader", open(path, "rb", buffering, opener=_open))


def content(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return what stands in a regular file. Raises OSError, for one that is longer too."""
    with opened(path) as file:
        found = file.read(most_bytes + 1)
    if len(found) > most_bytes:
        raise OSError(errno.EFBIG, f"has more than {most_bytes:,} bytes", str(path))
    return found


def lines(file: IO[bytes], name: str, most_bytes: int = LONGEST_LINE_BYTES) -> Iterator[bytes]:
    """Yield the lines of a file, each with its end. Raises OSError, which names the file, for one that is longer."""
    at = 0
    while line := file.readline(most_bytes + 1):
        if len(line) > most_bytes:
            raise OSError(errno.EFBIG, f"the line at byte {at} has more than {most_bytes:,} bytes", name)
        at += len(line)
        yield line


def _open(path: str, flags: int) -> int:
    descriptor = open_file(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        close_file(descriptor)
        raise OSError(errno.EINVAL, "no file", path)
    return descriptor
