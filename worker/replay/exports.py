"""Exports: a range as NDJSON in a file of its own, and exports as the source of a replay.

An export gets its name once it is whole and durable; a name that is taken by other content is an error.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from worker import modes, regular
from worker.decode import RawEntry
from worker.durable import sync_directory
from worker.errors import AccountingError, DiskTrouble
from worker.replay.ndjson import Order, line_of, parse
from worker.replay.output import stands
from worker.replay.sources import Page, Source
from worker.replay.span import Span

STANDARD = "-"  # standard input or output

_PAGE_ENTRIES = 500
_PAGE_BYTES = 1_000_000
_LONGEST_LINE_BYTES = 768 << 20  # an entry of 512 MB, which is Redis' limit, in base64


class BadExport(AccountingError):
    """An export cannot be read."""


class Export:
    """Writes what a source yields as NDJSON."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.entries = 0
        self.unchanged = False  # the file stood there already

    def run(self, to: str, hand_on: Callable[[Iterable[bytes]], object]) -> Iterator[int]:
        """Write everything, and yield after each page how far the source is. Raises Different and DiskTrouble.

        `hand_on` writes what goes to standard output.
        """
        if to == STANDARD:
            yield from self._write(hand_on)
            return
        path = Path(to)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with os.fdopen(_private(temporary), "wb") as file:
                yield from self._write(file.writelines)
                file.flush()
                os.fsync(file.fileno())
            self.unchanged = stands(temporary, path)
            if not self.unchanged:
                os.link(temporary, path)
                sync_directory(path.parent)
        except OSError as error:
            raise DiskTrouble(f"{path}: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _write(self, write_lines: Callable[[Iterable[bytes]], object]) -> Iterator[int]:
        for page in self._source.pages():
            write_lines(line_of(page.event_type, entry) for entry in page.entries)
            self.entries += len(page.entries)
            yield page.done


def _private(path: Path) -> int:
    """Make a file that no more users may read than accounting files: it holds addresses."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, modes.FILE)


class ExportSource:
    """Exports, one after another, as the source of a replay; each type's ids have to grow all through them."""

    def __init__(self, names: Sequence[str], types: Sequence[str], span: Span) -> None:
        self._names = names
        self._types = frozenset(types)
        self._span = span

    @property
    def total(self) -> int | None:
        """Return the size of all files; None where standard input is among them."""
        try:
            return None if STANDARD in self._names else sum(Path(name).stat().st_size for name in self._names)
        except OSError as error:
            raise BadExport(f"{error.filename}: {error.strerror}") from error

    def pages(self) -> Iterator[Page]:
        """Yield everything once. Raises BadExport, which names file and line."""
        done, event_type, size = 0, "", 0
        entries: list[RawEntry] = []
        for each_type, entry, line_bytes in self._entries():
            if entries and (each_type != event_type or len(entries) >= _PAGE_ENTRIES or size >= _PAGE_BYTES):
                yield Page(event_type, entries, done)
                entries, size = [], 0
            event_type = each_type
            entries.append(entry)
            size += line_bytes
            done += line_bytes
        if entries:
            yield Page(event_type, entries, done)

    def _entries(self) -> Iterator[tuple[str, RawEntry, int]]:
        """Yield type, entry and bytes of each line that is wanted."""
        order = Order()
        for name in self._names:
            with _opened(name) as file:
                for number, line in enumerate(regular.lines(file, name, _LONGEST_LINE_BYTES), 1):
                    if line.isspace():
                        continue
                    try:
                        event_type, entry = parse(line)
                        order.check(event_type, entry[0].decode())
                    except ValueError as error:
                        raise BadExport(f"{name}:{number}: {error}") from error
                    if event_type in self._types and self._span.holds(entry[0].decode()):
                        yield event_type, entry, len(line)


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise BadExport(f"{name}: {error.strerror}") from error
