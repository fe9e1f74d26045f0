"""Order: rows of many files as one sequence by time, in bounded memory.

Files overlap where several workers write, or events came late; within a file rows stand nearly by time. Each file's
matches are sorted by themselves, in runs on disk where they are many, and a file is not looked into before its first
second is due. Temporary runs have no name: they end with the process.
"""

import heapq
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from tempfile import TemporaryFile, gettempdir
from types import TracebackType
from typing import NamedTuple, Self

#: Lines of one file that are held in memory at once.
RUN_LINES = 20_000
_RUN_BYTES = 64 << 20
_READ_BYTES = 1 << 16


class Match(NamedTuple):
    """A line that was found, and the second that orders it."""

    second: int
    line: bytes  # with its end


class Source(NamedTuple):
    """One file: no match of it is earlier than `start`."""

    start: int
    matches: Iterator[Match]


def by_time(sources: Iterable[Source]) -> Iterator[tuple[int, Match]]:
    """Yield the matches of all sources in order of time, each with the number of its source.

    Within a second, sources keep their order and lines theirs. A source is read once its start is due.
    """
    waiting = sorted(enumerate(sources), key=lambda each: each[1].start)
    heads: list[tuple[int, int, Match, Iterator[Match]]] = []
    for number, (start, matches) in waiting:
        yield from _until(heads, start)
        _push(heads, number, in_runs(matches))
    yield from _until(heads, None)


def _until(heads: list[tuple[int, int, Match, Iterator[Match]]], start: int | None) -> Iterator[tuple[int, Match]]:
    while heads and (start is None or heads[0][0] < start):
        _, number, match, rest = heapq.heappop(heads)
        yield number, match
        _push(heads, number, rest)


def _push(heads: list[tuple[int, int, Match, Iterator[Match]]], number: int, matches: Iterator[Match]) -> None:
    match = next(matches, None)
    if match is not None:
        heapq.heappush(heads, (match.second, number, match, matches))


def in_runs(matches: Iterator[Match], run_lines: int = RUN_LINES) -> Iterator[Match]:
    """Yield matches in order of time; where they are more than one run, runs wait on disk."""
    run = _run(matches, run_lines)
    following = _run(matches, run_lines)
    if not following:
        yield from run
        return
    with Runs() as runs:
        waiting = [runs.add(run)]
        while following:
            waiting.append(runs.add(following))
            following = _run(matches, run_lines)
        yield from heapq.merge(*waiting, key=_second)


def _run(matches: Iterator[Match], run_lines: int) -> list[Match]:
    """Return the next matches in order of time: so many lines, or fewer long ones."""
    run, size = [], 0
    for match in islice(matches, run_lines):
        run.append(match)
        size += len(match.line)
        if size > _RUN_BYTES:
            break
    return sorted(run, key=_second)


def _second(match: Match) -> int:
    return match.second


class Runs:
    """Sorted runs, one behind the other in one temporary file."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - this is the context manager
        self._end = 0

    def add(self, run: Iterable[Match]) -> Iterator[Match]:
        """Write a run down; returns what reads it, a little at a time."""
        start = self._end
        content = b"".join(b"%d %b" % match for match in run)
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, gettempdir()) from error
        self._end += len(content)
        return self._read(start, self._end)

    def _read(self, at: int, end: int) -> Iterator[Match]:
        begun: list[bytes] = []
        while at < end:
            block = os.pread(self._file.fileno(), min(_READ_BYTES, end - at), at)
            at += len(block)
            *lines, rest = block.split(b"\n")
            if lines:
                lines[0], begun = b"".join((*begun, lines[0])), []
            begun.append(rest)
            for line in lines:
                second, _, text = line.partition(b" ")
                yield Match(int(second), text + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
