"""Files that a configuration comes from: read up to a bound, without waiting for what never comes."""

import os
import select
import stat
from pathlib import Path

_EXPECTED = "expected a file that can be read"
_PATIENCE_SECONDS = 10.0


def read_bounded(file: Path, most_bytes: int) -> bytes:
    """Return the content of a file, or of a pipe that somebody writes into (`<(command)`).

    Raises ValueError with what was expected for anything else, and for more than so many bytes.
    """
    return _read_opened(file, most_bytes, pipes=True)


def read_file(file: Path, most_bytes: int) -> bytes:
    """Return the content of a file, and of nothing else; ValueError likewise."""
    return _read_opened(file, most_bytes, pipes=False)


def _read_opened(file: Path, most_bytes: int, *, pipes: bool) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer hangs else
    except OSError as error:
        raise ValueError(f"{error.strerror}: {_EXPECTED}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not (pipes and stat.S_ISFIFO(mode)):
            raise ValueError(f"is no file: {_EXPECTED}")
        content = _read(descriptor, most_bytes + 1)
    except OSError as error:
        raise ValueError(f"{error.strerror}: {_EXPECTED}") from error
    finally:
        os.close(descriptor)
    if stat.S_ISFIFO(mode) and not content:
        raise ValueError(f"a pipe that nobody writes into: {_EXPECTED}")
    if len(content) > most_bytes:
        raise ValueError(f"has more than {most_bytes:,} bytes")
    return content


def _read(descriptor: int, most_bytes: int) -> bytes:
    """Return what can be read, up to so many bytes; waits for a writer that writes now and then."""
    parts, left = [], most_bytes
    while left > 0:
        try:
            part = os.read(descriptor, left)
        except BlockingIOError:
            if not select.select([descriptor], [], [], _PATIENCE_SECONDS)[0]:
                raise ValueError(f"a pipe in which nothing comes: {_EXPECTED}") from None
            continue
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
