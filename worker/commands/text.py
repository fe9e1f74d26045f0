"""Showing what others wrote: nothing of it can move the cursor, forge a line, or be taken for markup."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from worker.commands import streams
from worker.printable import printable

MISSING = "-"

_LAST_INSTANT_MS = 253_370_764_800_000  # before the year 9999
_WIDEST = 120  # characters of a cell


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
    """Return an empty table that is shown as wide as it is."""
    return _with_columns(Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False), columns, right)


def framed(title: str, *columns: str, right: frozenset[str] = frozenset(), heads: bool = True) -> Table:
    """Return an empty table with a title and a frame, to be shown within the terminal."""
    return _with_columns(Table(title=cell(title), title_justify="left", show_header=heads), columns, right)


def _with_columns(shown: Table, columns: Sequence[str], right: frozenset[str]) -> Table:
    for column in columns:
        shown.add_column(cell(column), justify="right" if column in right else "left")
    return shown


def cell(value: object, style: str = "") -> Text:
    """Return a value that may be missing; a text is escaped, and cut where it is very long."""
    shown = MISSING if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return Text(printable(shown, _WIDEST), style)


def add_row(shown: Table, *cells: object, style: str = "", end_section: bool = False) -> None:
    """Add a row of values that may be missing."""
    found = (value if isinstance(value, Text) else cell(value) for value in cells)
    shown.add_row(*found, style=style, end_section=end_section)


def show(shown: Table) -> None:
    """Print a table as wide as it is, whatever the terminal: ids stay whole, and lines can be searched."""
    natural = streams.console(width=_WIDEST * len(shown.columns) * 2).measure(shown).maximum
    streams.console(width=max(streams.console().width, natural)).print(shown)


def show_within(shown: Table) -> None:
    """Print a table within the width of the terminal."""
    streams.console().print(shown)
