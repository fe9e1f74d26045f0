"""Rows: from the decoded events of one type to the bytes that are appended to its accounting file.

Pure. A row depends on the event, the id of its stream entry and the settings alone, so a replay gives the same bytes.

The row function is generated once for the configured columns, in two forms. The plain one joins the values as they
are; it is used while nothing in the batch's JSON can yield a character that breaks a row. The clean one passes every
text through `clean`; it is used for a batch that holds a backslash (JSON escapes quotes and C0 controls with it) or
one of the few controls that JSON lets through. One search in the joined JSON thus replaces one per value. Where cells
are guarded against formulas, texts of the plain form pass through that guard too.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any, NamedTuple

import msgspec

from schemas.catalogue import FIELDS, Kind, Origin, header_of, is_custom
from schemas.events import TAGS
from worker.formulas import guarded
from worker.settings import Format, RowSettings

#: Characters of a value that would break or forge a row: C0, DEL, C1 and the Unicode line separators.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")

#: The same as UTF-8 inside JSON, where C0 arrives as an escape.
_SUSPECT = re.compile(rb"[\x5c\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")

_FORMATTED_SECONDS = 4096


class Layout(NamedTuple):
    """How cells become a line."""

    separator: str
    terminator: str
    missing: str

    @classmethod
    def of(cls, row_format: Format, separator: str) -> "Layout":
        """Return the layout of a format."""
        if row_format is Format.ORIGINAL:
            return cls(separator, separator + "\r\n", " - ")
        return cls(separator, "\n", "-")


def is_suspect(payload: bytes) -> bool:
    """Tell whether a JSON text can yield a control character or a quote in some value."""
    if payload.isascii():
        return b"\\" in payload or b"\x7f" in payload
    return _SUSPECT.search(payload) is not None


class Clock:
    """Formats instants as `yyyy-mm-dd HH:MM:ss` in one time zone, and remembers the seconds that it has seen."""

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self.seen: dict[int, str] = {}

    def remember(self, second: int) -> str:
        """Format a second since the epoch, and keep the result in `seen`, which stays small."""
        if len(self.seen) >= _FORMATTED_SECONDS:
            self.seen.clear()
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
        text = instant.astimezone(self._timezone).strftime("%Y-%m-%d %H:%M:%S")
        self.seen[second] = text
        return text


def cleaner(layout: Layout, guard: Callable[[str], str] | None = None) -> Callable[[str], str]:
    """Return the function that makes a text fit for a cell: controls become spaces, RFC 4180 quotes where needed.

    `guard` is what spreadsheets need, between the two.
    """
    separator = layout.separator
    special = () if separator == "\t" else (separator, '"')

    def clean(text: str) -> str:
        if not text.isprintable():
            text = text.translate(_CONTROLS)
        if guard:
            text = guard(text)
        for character in special:
            if character in text:
                return '"' + text.replace('"', '""') + '"'
        return text

    return clean


def number(value: float) -> str:
    """Write a number as JSON would, without a fraction that is zero or a sign that could be a separator."""
    return repr(value).removesuffix(".0").replace("e+", "e")


def json_number(value: float | None) -> float | None:
    """Return a number for a JSON line: whole ones without a fraction."""
    return value if value is None or value % 1 else int(value)


def queued_seconds(logged_ms: int, queued_ms: int | None) -> str | None:
    """Return the seconds between two instants with three decimals, or None where one is unknown."""
    return None if queued_ms is None else f"{(logged_ms - queued_ms) / 1000:.3f}"


def header(columns: Sequence[str], settings: RowSettings) -> bytes:
    """Return the header line of a file; nothing for jsonl, whose rows name their columns."""
    return header_line(settings.format, settings.separator, columns)


def header_line(row_format: Format, separator: str, columns: Sequence[str]) -> bytes:
    """Return the same by format and separator alone."""
    if row_format is Format.JSONL:
        return b""
    layout = Layout.of(row_format, separator)
    return (layout.separator.join(columns) + layout.terminator).encode()


def custom_attribute(column: str) -> str:
    """Return the attribute name that a custom column's header has in the projected struct."""
    return "h_" + header_of(column).encode().hex()


def _value(column: str, event_type: str) -> tuple[str, Kind] | None:
    """Return the expression of a column's value in generated code (None where missing), and its kind."""
    if is_custom(column):
        return f"e.custom.{custom_attribute(column)}", Kind.TEXT
    field = FIELDS[column]
    origin = field.origin.get(event_type)
    match origin:
        case None:
            return None
        case Origin.EVENT:
            return f"e.{field.attribute}", field.kind
        case Origin.RECIPIENT:
            return f"r.{field.attribute}", field.kind
        case Origin.ENTRY:
            return "sid.decode()", field.kind
        case Origin.TYPE:
            return repr(TAGS[event_type]), field.kind


def _cell(column: str, event_type: str, missing: str, *, through: str | None) -> str:
    """Return the expression of a cell in generated code; `through` names what texts pass through."""
    found = _value(column, event_type)
    if found is None:
        return repr(missing)
    value, kind = found
    match kind:
        case Kind.TEXT:
            return f"({through}({value}) if {value} else {missing!r})" if through else f"({value} or {missing!r})"
        case Kind.INSTANT:
            second = f"{value} // 1000"
            seen = f"(seen.get({second}) or remember({second}))"
            return seen if column == "timeLogged" else f"({missing!r} if {value} is None else {seen})"
        case Kind.NUMBER:
            return f"({missing!r} if {value} is None else number({value}))"
        case Kind.BOOLEAN:
            return f"({missing!r} if {value} is None else 'true' if {value} else 'false')"
        case Kind.QUEUED_SECONDS:
            return f"(queued_seconds(e.time_logged, {value}) or {missing!r})"
        case Kind.SOURCE_TYPE:
            return f"('smtp' if {value} else {missing!r})"
        case Kind.CONSTANT | Kind.STREAM_ID:
            return value


_LOOP = """
def rows(ids, decoded):
    lines = []
    append = lines.append
    for sid, events in zip(ids, decoded):
        for e in events:
            for r in e.rcpts:
                append({line})
    return lines
"""


def _literal(text: str) -> str:
    """Escape a text that stands between the braces of a generated f-string."""
    escaped = text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return escaped.replace("{", "{{").replace("}", "}}")


RowFunction = Callable[[Sequence[bytes], Sequence[Sequence[Any]]], list[str]]


def _compile(line: str, names: dict[str, Any]) -> RowFunction:
    """Compile the loop around one line expression. Column names reach the code as literals and hex only."""
    exec(_LOOP.format(line=line), names)  # noqa: S102
    function: RowFunction = names["rows"]
    return function


class Rows:
    """Writes rows of one type in the configured columns.

    `render` takes parallel sequences: the ids of entries and, for each, its decoded events.
    """

    def __init__(self, event_type: str, settings: RowSettings) -> None:
        self.columns = settings.columns[event_type]
        self.header = header(self.columns, settings)
        self._layout = Layout.of(settings.format, settings.separator)
        self._jsonl = settings.format is Format.JSONL
        clock = Clock(settings.timezone)
        guard = partial(guarded, separator=settings.separator) if settings.guarded else None
        names = {
            "seen": clock.seen,
            "remember": clock.remember,
            "number": number,
            "json_number": json_number,
            "queued_seconds": queued_seconds,
            "clean": cleaner(self._layout, guard),
            "guard": guard,
            "json": msgspec.json.encode,
        }
        if self._jsonl:
            self._clean = self._plain = _compile(self._object(event_type, names), names)
        else:
            self._plain = _compile(self._joined(event_type, "guard" if guard else None), dict(names))
            self._clean = _compile(self._joined(event_type, "clean"), dict(names))

    def _joined(self, event_type: str, through: str | None) -> str:
        """Return the expression of a delimited line, without its line break: one f-string."""
        cells = [_cell(column, event_type, self._layout.missing, through=through) for column in self.columns]
        terminator = _literal(self._layout.terminator.removesuffix("\n"))
        separator = _literal(self._layout.separator)
        return 'f"""' + separator.join("{" + cell + "}" for cell in cells) + terminator + '"""'

    def _object(self, event_type: str, names: dict[str, Any]) -> str:
        """Return the expression of a JSON line: the same cells as objects, null where missing."""
        plain = cleaner(Layout("\t", "", ""))
        names["clean"] = plain
        cells = (f"{column!r}: {_json_value(column, event_type)}" for column in self.columns)
        return "json({" + ", ".join(cells) + "}).decode()"

    def render(self, ids: Sequence[bytes], decoded: Sequence[Sequence[Any]], *, suspect: bool) -> tuple[bytes, int]:
        """Return the rows as UTF-8 and their number.

        `suspect` says that some value may hold a control character or a quote (`is_suspect` of the joined JSON).
        """
        lines = self.lines(ids, decoded, suspect=suspect)
        count = len(lines)
        if count:
            lines.append("")  # for the last line break
        return "\n".join(lines).encode(), count

    def lines(self, ids: Sequence[bytes], decoded: Sequence[Sequence[Any]], *, suspect: bool) -> list[str]:
        """Return the rows one by one, without their line breaks."""
        if suspect:
            return self._clean(ids, decoded)
        lines = self._plain(ids, decoded)
        return lines if self._jsonl or self._is_regular(lines) else self._clean(ids, decoded)

    def _is_regular(self, lines: list[str]) -> bool:
        """Tell whether no value holds the separator. A TAB cannot get here: JSON escapes it."""
        separator, terminator, _ = self._layout
        if separator == "\t":
            return True
        per_row = len(self.columns) - 1 + terminator.count(separator)
        return "".join(lines).count(separator) == len(lines) * per_row


def _json_value(column: str, event_type: str) -> str:
    """Return the expression of a JSON line's value: numbers and booleans stay what they are."""
    found = _value(column, event_type)
    if found is None:
        return "None"
    value, kind = found
    match kind:
        case Kind.TEXT:
            return f"(clean({value}) if {value} else None)"
        case Kind.NUMBER:
            return f"json_number({value})"
        case Kind.BOOLEAN:
            return value
        case Kind.QUEUED_SECONDS:
            return f"(None if {value} is None else (e.time_logged - {value}) / 1000)"
        case Kind.SOURCE_TYPE:
            return f"('smtp' if {value} else None)"
        case Kind.INSTANT:
            second = f"{value} // 1000"
            return f"(None if {value} is None else seen.get({second}) or remember({second}))"
        case Kind.CONSTANT | Kind.STREAM_ID:
            return value
