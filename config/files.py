"""Files that a configuration comes from: read up to a bound, without waiting for what never comes."""

import os
import stat
from pathlib import Path


def read_bounded(file: Path, most_bytes: int) -> bytes:
    """Return the content of a file, or of a pipe that somebody writes into (`<(command)`).

    Raises ValueError with what was expected for anything else, and for more than so many bytes.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer hangs else
    except OSError as error:
        raise ValueError(f"{error.strerror}: expected a file that can be read") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise ValueError("is no file: expected a file that can be read")
        content = _read(descriptor, most_bytes + 1)
    except OSError as error:
        raise ValueError(f"{error.strerror}: expected a file that can be read") from error
    finally:
        os.close(descriptor)
    if stat.S_ISFIFO(mode) and not content:
        raise ValueError("a pipe that nobody writes into: expected a file that can be read")
    if len(content) > most_bytes:
        raise ValueError(f"has more than {most_bytes:,} bytes")
    return content


def _read(descriptor: int, most_bytes: int) -> bytes:
    """Return what can be read, up to so many bytes; waits for a writer that has not written yet."""
    parts, left = [], most_bytes
    while left > 0:
        try:
            part = os.read(descriptor, left)
        except BlockingIOError:
            os.set_blocking(descriptor, True)
            continue
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
