"""Sightings: since when the janitor has seen each sealed file, by passed time. They alone tell what is old enough.

A manifest says when its file was sealed by a clock that may have been wrong. It is believed where a directory gets its
first list of sightings; from then on a file is as old as it has been seen.

`<location>/.sightings.jsonl` has a name with its first sight a line. What a crash or a full disk takes away of it makes
files younger than they are, never older. Only the directory's janitor writes it, under its lock.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from worker import regular
from worker.durable import write_all, write_durably
from worker.inventory import Stored
from worker.manifest import Manifest

_NAME = ".sightings.jsonl"
_SPARE_LINES = 1000  # of files that are gone, before the list is written anew

_line = msgspec.json.Decoder(tuple[str, Annotated[int, Meta(ge=0)]])


class Sightings:
    """The first sights of one location's sealed files, in one run."""

    def __init__(self, location: Path) -> None:
        self._path = location / _NAME
        self._first: dict[str, int] = {}  # sights of what stands
        self._fresh: dict[str, int] = {}  # those of them that the list does not have
        self._known: int | None = None  # names in the list, once it was looked at

    def exist(self) -> bool:
        """Tell whether there is a list."""
        return self._path.exists()

    def latest(self) -> int | None:
        """Return the latest first sight; None where there is none. Raises OSError."""
        return max((self._load() or {}).values(), default=None)

    def see(self, standing: Iterable[Stored], now_ms: int, wall_ms: int) -> Mapping[str, int]:
        """Return since when each of these files has been seen, by its name, in ms of passed time. Raises OSError.

        Where there is no list, a file is as old as its manifest says by the wall clock, or by passed time where that is
        behind.
        """
        known = self._load()
        first = {
            stored.path.name: now_ms - _age_ms(stored, min(now_ms, wall_ms))
            if known is None
            else min(now_ms, known.get(stored.path.name, now_ms))
            for stored in standing
        }
        self._first |= first
        self._fresh |= {name: at for name, at in first.items() if name not in (known or {})}
        self._known = len(known or {})
        return first

    def note(self) -> None:
        """Write down what was seen for the first time. Raises OSError."""
        if self._known is None:
            return
        if not self.exist() or self._known > 2 * len(self._first) + _SPARE_LINES:
            write_durably(self._path, _lines(self._first))
        elif self._fresh:
            _append(self._path, _lines(self._fresh))
        self._fresh.clear()

    def _load(self) -> dict[str, int] | None:
        """Return the first sight of each name; None where there is no list. What cannot be read is passed over."""
        try:
            content = regular.content(self._path)
        except FileNotFoundError:
            return None
        found: dict[str, int] = {}
        for line in content.splitlines():
            try:
                name, at_ms = _line.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            found.setdefault(name, at_ms)
        return found


def sealed_ms(manifest: Manifest | None) -> int:
    """Return when a file was sealed by its manifest; early versions did not tell, so its last row stands for it."""
    if manifest is None:
        return 0
    return manifest.sealed_ms or max(manifest.opened_ms, manifest.last_time_ms or 0)


def _age_ms(stored: Stored, now_ms: int) -> int:
    return min(now_ms, max(0, now_ms - sealed_ms(stored.manifest)))


def _lines(sights: Mapping[str, int]) -> bytes:
    return b"".join(msgspec.json.encode(pair) + b"\n" for pair in sights.items())


def _append(path: os.PathLike[str], lines: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        write_all(descriptor, b"\n" * torn + lines)
    finally:
        os.close(descriptor)
