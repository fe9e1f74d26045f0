"""The content of an accounting file: whole lines as far as they count, wherever the file stands by now."""

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

#: What reading can meet: the disk, or a compressed file that is torn.
UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


class NotHere(AccountingError):
    """The content of a file is not here any more."""


def known_paths(stored: Stored, place: Place) -> Iterator[Path]:
    """Yield where the content may stand, in the order in which it moves: whoever looks in this order cannot miss it."""
    for directory in dict.fromkeys((stored.path.parent, *place.directories)):
        for ending in ("", *ENDINGS):
            yield directory / (stored.path.name + ending)


@contextmanager
def opened(stored: Stored, place: Place) -> Iterator[IO[bytes]]:
    """Open the content, decompressed. Raises NotHere, and OSError from the disk."""
    with ExitStack() as stack:
        for path in known_paths(stored, place):
            try:
                content = stack.enter_context(contents(path))
            except FileNotFoundError:
                continue
            yield content
            return
        raise NotHere(f"{stored.path}: not here any more")


def blocks(content: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    """Yield whole lines, many at once, from where the content stands (`start`) up to `length`.

    What has no line end there is left out, or raises EOFError where the content is shorter than it should be.
    """
    rest, left = b"", length - start
    while left > 0:
        block = content.read(min(left, _BLOCK_BYTES))
        if not block:
            raise EOFError(f"{left} bytes shorter than it should be")
        left -= len(block)
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            continue
        yield rest + block[:end]
        rest = block[end:]


def skip(content: IO[bytes], count: int) -> None:
    """Go on by some bytes, in a compressed file too."""
    if content.seekable():
        content.seek(count, 1)
        return
    while count > 0 and (block := content.read(min(count, _BLOCK_BYTES))):
        count -= len(block)
