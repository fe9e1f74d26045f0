"""Showing what others wrote: nothing of it can move the cursor, forge a line, or be taken for markup."""

import json
from datetime import UTC, datetime

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from worker.commands import streams

MISSING = "-"

_LAST_INSTANT_MS = 253_370_764_800_000  # before the year 9999
_WIDEST = 120  # characters of a cell


def escaped(value: bytes | str) -> str:
    """Return text for people: bytes that are no UTF-8, controls and invisible characters as escapes."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def instant(ms: int | None, *, precise: bool = False) -> str:
    """Return an instant in UTC, to the second or the millisecond; as a number where no calendar has it."""
    if ms is None or not 0 <= ms < _LAST_INSTANT_MS:
        return MISSING if ms is None else str(ms)
    second = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{second}.{ms % 1000:03}" if precise else second


def as_json(value: object) -> str:
    """Return JSON in ASCII, so that no terminal takes a character of it for a command."""
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))


def table(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    """Return an empty table."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left")
    return shown


def cell(value: object) -> Text:
    """Return a value that may be missing; a text is escaped, and cut where it is very long."""
    shown = MISSING if value is None else f"{value:,}" if isinstance(value, int) else escaped(str(value))
    return Text(shown if len(shown) <= _WIDEST else f"{shown[: _WIDEST - 1]}…")


def add_row(shown: Table, *cells: object, style: str = "") -> None:
    """Add a row of values that may be missing."""
    shown.add_row(*map(cell, cells), style=style)


def show(shown: Table) -> None:
    """Print a table as wide as it is, whatever the terminal: ids stay whole, and lines can be searched."""
    natural = streams.console(width=_WIDEST * len(shown.columns) * 2).measure(shown).maximum
    streams.console(width=max(streams.console().width, natural)).print(shown)
