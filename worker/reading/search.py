"""Search: the lines of accounting files for which criteria hold.

Reads at the speed of the disk where little matches: a block is searched for bytes that each match must hold, and only
lines that hold them are taken apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import IO, NamedTuple

from schemas.events import TYPES
from worker.inventory import Place, Stored, sealed, unsealed
from worker.manifest import BadManifest
from worker.reading.content import UNREADABLE, NotHere, blocks, opened, skip
from worker.reading.criteria import Criteria, Needle
from worker.reading.instants import logged_second, zone_called
from worker.reading.order import Match, Source, by_time
from worker.reading.parse import BadLine, Parser, delimited, json_line, layout_of, read_header
from worker.records import Record
from worker.regular import LONGEST_LINE_BYTES
from worker.settings import Format, RowSettings

_LONGEST_HEADER_BYTES = 1 << 20
_TIME = "timeLogged"


class Found(NamedTuple):
    """An accounting file with rows, and where the files of its type stand."""

    place: Place
    stored: Stored

    @property
    def start(self) -> int:
        """Return the second before which it has no row."""
        return (self.stored.first_time_ms or 0) // 1000


class Row(NamedTuple):
    """A row that was found."""

    event_type: str
    file: str
    second: int  # timeLogged, since the epoch
    values: Mapping[str, str]  # by column
    timezone: tzinfo  # of its times


class Span(NamedTuple):
    """Seconds since the epoch, the end not included; None: open."""

    start: int | None = None
    end: int | None = None

    def holds(self, second: int) -> bool:
        """Tell whether a second is in it."""
        return (self.start is None or second >= self.start) and (self.end is None or second < self.end)

    def touches(self, stored: Stored) -> bool:
        """Tell whether a file can have rows in it."""
        too_early = self.start is not None and _second(stored.last_time_ms, self.start) < self.start
        too_late = self.end is not None and _second(stored.first_time_ms, self.end - 1) >= self.end
        return not too_early and not too_late


class Shape(NamedTuple):
    """How the lines of a file are taken apart."""

    format: Format
    columns: Sequence[str]
    header_bytes: int
    parse: Parser
    timezone: tzinfo


def list_files(
    places: Sequence[Place], records: Sequence[Record], bad: list[BadManifest], unreadable: list[OSError]
) -> list[Found]:
    """Return the files that have rows, by their first second, then by type and name; what cannot be told goes to lists.

    The records must have been read before: a file that was sealed meanwhile is then listed as sealed, and none missed.
    """
    files = {}
    for place in places:
        for stored in (*unsealed(place, records), *sealed(place, bad, unreadable)):
            files[place.event_type, stored.path.name] = Found(place, stored)
    return by_start(found for found in files.values() if found.stored.rows)


def by_start(files: Iterable[Found]) -> list[Found]:
    """Return files in their order."""
    return sorted(files, key=lambda found: (found.start, TYPES.index(found.place.event_type), found.stored.path.name))


class Search:
    """Looks for rows; `troubles` names what could not be searched, by why."""

    def __init__(self, criteria: Criteria, span: Span, rows: RowSettings) -> None:
        """`rows` says how open files look."""
        self._criteria = criteria
        self._span = span
        self._rows = rows
        self._shapes: dict[tuple[str, str], Shape] = {}
        self.troubles: dict[str, list[Path]] = defaultdict(list)
        self.is_whole = True  # nothing kept it from looking at a file; one without a column shows nothing of it

    @property
    def is_choosy(self) -> bool:
        """Tell whether some rows may not be wanted."""
        return bool(self._criteria.each) or self._span != Span()

    def rows(self, files: Sequence[tuple[Found, int]]) -> Iterator[Row]:
        """Yield the rows that are found in files, each behind its first bytes, in order of time."""
        sources = (Source(found.start, self.matches(found, start)) for found, start in files)
        for number, match in by_time(sources):
            yield self.row(files[number][0], match)

    def touches(self, found: Found) -> bool:
        """Tell whether a file can have rows in the span."""
        return self._span.touches(found.stored)

    def matches(self, found: Found, start: int = 0) -> Iterator[Match]:
        """Yield what is found in a file behind its first `start` bytes; what keeps it from being read is a trouble."""
        stored = found.stored
        try:
            with opened(stored, found.place) as content:
                shape = self._shape(content, found)
                if shape and (columns := self._columns(shape, stored)) is not None:
                    yield from self._in_content(content, found, shape, columns, start)
        except NotHere:
            self._miss("not here any more", stored)
        except UNREADABLE as error:
            self._miss(f"cannot be read ({error})", stored)

    def row(self, found: Found, match: Match) -> Row:
        """Return what stands in a line that was found."""
        shape, stored = self._shapes[_key(found)], found.stored
        return Row(stored.event_type, stored.path.name, match.second, shape.parse(match.line), shape.timezone)

    def _shape(self, content: IO[bytes], found: Found) -> Shape | None:
        """Return how a file's lines look, with the content at its first row."""
        stored = found.stored
        try:
            shape = self._read_shape(content, stored)
        except ValueError:  # an unknown format, a foreign header, a first line that is none
            self._miss("its first line does not fit its format", stored)
            return None
        self._shapes[_key(found)] = shape
        return shape

    def _read_shape(self, content: IO[bytes], stored: Stored) -> Shape:
        told = stored.manifest or stored.series
        described = told or self._rows
        layout_format = Format(described.format)
        zone = zone_called(told.timezone if told else None, self._rows.timezone)
        if layout_format is Format.JSONL:
            if stored.manifest:
                return Shape(layout_format, stored.manifest.columns, 0, json_line, zone)
            columns = tuple(json_line(content.readline(_LONGEST_HEADER_BYTES)))
            content.seek(0)
            return Shape(layout_format, columns, 0, json_line, zone)
        layout = layout_of(layout_format, described.separator)
        line = content.readline(_LONGEST_HEADER_BYTES)
        columns = read_header(line, layout)
        return Shape(layout_format, columns, len(line), delimited(layout, columns, guarded=described.guarded), zone)

    def _columns(self, shape: Shape, stored: Stored) -> Mapping[str, str] | None:
        """Return how a file calls the columns in question; None where it lacks one."""
        columns = self._criteria.columns(shape.columns)
        missing = [each.column for each in self._criteria.each if each.column not in columns]
        for name in missing:
            self.troubles[f"no column {name}"].append(stored.path)
        if self._span != Span() and _TIME not in shape.columns:
            self.troubles[f"no column {_TIME}, so whatever their time"].append(stored.path)
        return None if missing else columns

    def _in_content(
        self, content: IO[bytes], found: Found, shape: Shape, columns: Mapping[str, str], start: int
    ) -> Iterator[Match]:
        if start > shape.header_bytes:
            skip(content, start - shape.header_bytes)
        needle, bad_lines, long = self._criteria.needle(shape.format), 0, list[int]()
        for block in blocks(content, max(start, shape.header_bytes), found.stored.length, long):
            for line in lines_with(needle, block):
                try:
                    values = shape.parse(line)
                except BadLine:
                    bad_lines += 1
                    continue
                second = self._second(values, found, shape.timezone)
                if second is not None and self._criteria.hold(values, columns):
                    yield Match(second, line)
        if bad_lines:
            self._miss(f"{bad_lines} lines do not have the columns of the header", found.stored)
        if long:
            too_long = f"more than {LONGEST_LINE_BYTES:,} bytes, the first of them at byte {long[0]}"
            self._miss(f"{len(long)} lines are left out, which have {too_long}", found.stored)

    def _miss(self, why: str, stored: Stored) -> None:
        """Note what could not be looked at."""
        self.troubles[why].append(stored.path)
        self.is_whole = False

    def _second(self, values: Mapping[str, str], found: Found, timezone: tzinfo) -> int | None:
        """Return what orders a row, None where it is outside of the span; the file's first second without a time."""
        if _TIME not in values:
            return found.start
        second = logged_second(values[_TIME], timezone, found.start)
        if second is None:
            return found.start
        return second if self._span.holds(second) else None


def lines_with(needle: Needle, block: bytes) -> Iterator[bytes]:
    """Yield the lines of a block that hold the needle; all of them where it is empty."""
    if not needle.text:
        yield from (line + b"\n" for line in block.split(b"\n")[:-1])
        return
    searched = block.lower() if needle.folded else block
    at = searched.find(needle.text)
    while at >= 0:
        end = block.find(b"\n", at) + 1
        yield block[block.rfind(b"\n", 0, at) + 1 : end]
        at = searched.find(needle.text, end) if end else -1


def _key(found: Found) -> tuple[str, str]:
    return found.place.event_type, found.stored.path.name


def _second(ms: int | None, unknown: int) -> int:
    return unknown if ms is None else ms // 1000
