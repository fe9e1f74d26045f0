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
from worker.regular import ENDLESS_LINE_BYTES, LONGEST_LINE_BYTES

_BLOCK_BYTES = 1 << 20

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
                content = stack.enter_context(contents(path))
            except FileNotFoundError:
                continue
            yield content
            return
        raise NotHere(f"{stored.path}: not here any more")


def blocks(content: IO[bytes], start: int, length: int, long: list[int] | None = None) -> Iterator[bytes]:
    """Yield whole lines, many at once, from where the content stands (`start`) up to `length`.

    What has no line end there is left out, and so is a line that is longer than any row: a few compressed bytes can
    hold one of any length. Where such lines begin goes to `long`. Raises EOFError where the content is shorter than it
    should be, or a line longer than anything that was ever published.
    """
    begun: list[bytes] = []
    at = begin = start  # of the block, and of the line that was begun
    while at < length:
        block = content.read(min(length - at, _BLOCK_BYTES))
        if not block:
            raise EOFError(f"{length - at} bytes shorter than it should be")
        end = block.rfind(b"\n") + 1
        if end:
            is_long = at - begin > LONGEST_LINE_BYTES
            yield block[block.find(b"\n") + 1 : end] if is_long else b"".join((*begun, block[:end]))
            begun, begin = [], at + end
        at += len(block)
        if at - begin <= LONGEST_LINE_BYTES:
            begun.append(block[end:])
        elif begun:
            begun = []
            if long is not None:
                long.append(begin)
        if at - begin > ENDLESS_LINE_BYTES:
            raise EOFError(f"the line at byte {begin} has more than {ENDLESS_LINE_BYTES:,} bytes")


def skip(content: IO[bytes], count: int) -> None:
    """Go on by some bytes, in a compressed file too."""
    if content.seekable():
        content.seek(count, 1)
        return
    while count > 0 and (block := content.read(min(count, _BLOCK_BYTES))):
        count -= len(block)
