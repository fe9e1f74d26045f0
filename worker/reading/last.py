"""The last rows: of each file those written last, and of these the latest by time."""

from collections import deque
from collections.abc import Sequence
from typing import IO

from worker.reading.content import UNREADABLE, NotHere, opened
from worker.reading.order import Match
from worker.reading.search import Found, Search
from worker.regular import LONGEST_LINE_BYTES

_GUESS_BYTES = 1 << 16


def last_rows(search: Search, files: Sequence[Found], count: int, *, filtered: bool) -> list[tuple[Found, Match]]:
    """Return the last `count` matches in order of time; files that end before them are not opened.

    `filtered` says that not every row is wanted: then files are searched from their beginning.
    """
    latest: list[tuple[int, int, int, Found, Match]] = []
    numbered = list(enumerate(files))
    for number, found in sorted(numbered, key=lambda each: (_end(each[1]), each[0]), reverse=True):
        if count and len(latest) == count and latest[0][0] > _end(found):
            break
        start = 0 if filtered else offset_of_last(found, count)
        matches = deque(search.matches(found, start), maxlen=count)
        latest += [(match.second, number, line, found, match) for line, match in enumerate(matches)]
        latest = sorted(latest, key=lambda each: each[:3])[-count:] if count else []
    return [(found, match) for *_, found, match in latest]


def _end(found: Found) -> int:
    """Return the last second of a file; an unknown one is the latest."""
    last_ms = found.stored.last_time_ms
    return 1 << 62 if last_ms is None else last_ms // 1000


def offset_of_last(found: Found, count: int) -> int:
    """Return where the last lines of a file begin, 0 where it has no more than these or cannot be read."""
    length = found.stored.length
    try:
        with opened(found.stored, found.place) as content:
            return _in_plain(content, length, count) if content.seekable() else _in_compressed(content, length, count)
    except (NotHere, *UNREADABLE):  # reading it tells why
        return 0


def _in_plain(content: IO[bytes], length: int, count: int) -> int:
    """Look back from the end, four times further each time."""
    back = _GUESS_BYTES
    while True:
        start = max(0, length - back)
        content.seek(start)
        block = content.read(length - start)
        if not start or block.count(b"\n") > count:
            return start + _line_start(block, count)
        if (block.find(b"\n") + 1 or len(block)) > LONGEST_LINE_BYTES:
            raise EOFError("a line is longer than any row")
        back *= 4


def _in_compressed(content: IO[bytes], length: int, count: int) -> int:
    """Go through all of it, and keep of it what the last lines need."""
    kept: deque[tuple[bytes, int]] = deque()  # blocks, with the number of lines that end in each
    lines = dropped = at = line_bytes = 0
    while at < length and (block := content.read(min(length - at, 1 << 20))):
        at += len(block)
        line_bytes = len(block) - end if (end := block.rfind(b"\n") + 1) else line_bytes + len(block)
        if line_bytes > LONGEST_LINE_BYTES:
            raise EOFError("a line is longer than any row")
        kept.append((block, block.count(b"\n")))
        lines += kept[-1][1]
        while lines - kept[0][1] > count:
            first, ended = kept.popleft()
            lines -= ended
            dropped += len(first)
    return dropped + _line_start(b"".join(block for block, _ in kept), count)


def _line_start(block: bytes, count: int) -> int:
    """Return where the last lines of a block begin; the block ends with a line."""
    at = len(block)
    for _ in range(count + 1):
        at = block.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1
