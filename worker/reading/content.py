"""The content of an accounting file: whole lines as far as they count, wherever the file stands by now."""

import errno
import stat
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import zstandard

from worker.errors import AccountingError
from worker.inventory import Place, Stored, contents
from worker.manifest import ENDINGS

_BLOCK_BYTES = 1 << 20
_LONGEST_LINE_BYTES = 64 << 20

#: What reading can meet: the disk, or a compressed file that is torn.
UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


class NotHere(AccountingError):
    """The content of a file is not here any more."""


def known_paths(stored: Stored, place: Place) -> Iterator[Path]:
    """Yield where the content may stand, in the order in which it moves: whoever looks in this order cannot miss it."""
    plain = stored.plain_path.name
    names = dict.fromkeys((stored.content_path.name, plain, *(plain + ending for ending in ENDINGS)))
    for directory in dict.fromkeys((stored.path.parent, *place.directories)):
        yield from (directory / name for name in names)


@contextmanager
def opened(stored: Stored, place: Place) -> Iterator[IO[bytes]]:
    """Open the content, decompressed. Raises NotHere, and OSError from the disk."""
    with ExitStack() as stack:
        for path in known_paths(stored, place):
            try:
                require_file(path)
                content = stack.enter_context(contents(path))
            except FileNotFoundError:
                continue
            yield content
            return
        raise NotHere(f"{stored.path}: not here any more")


def require_file(path: Path) -> None:
    """Raise OSError for what is no file: a pipe would be waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no file", str(path))


def blocks(content: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    """Yield whole lines, many at once, from where the content stands (`start`) up to `length`.

    What has no line end there is left out, or raises EOFError where the content is shorter than it should be, or where
    a line is longer than any row: a few compressed bytes can hold one of any length.
    """
    begun: list[bytes] = []
    left, line_bytes = length - start, 0
    while left > 0:
        block = content.read(min(left, _BLOCK_BYTES))
        if not block:
            raise EOFError(f"{left} bytes shorter than it should be")
        left -= len(block)
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join((*begun, block[:end]))
            begun, line_bytes = [], 0
        begun.append(block[end:])
        line_bytes += len(block) - end
        if line_bytes > _LONGEST_LINE_BYTES:
            raise EOFError(f"a line has more than {_LONGEST_LINE_BYTES:,} bytes")


def skip(content: IO[bytes], count: int) -> None:
    """Go on by some bytes, in a compressed file too."""
    if content.seekable():
        content.seek(count, 1)
        return
    while count > 0 and (block := content.read(min(count, _BLOCK_BYTES))):
        count -= len(block)
