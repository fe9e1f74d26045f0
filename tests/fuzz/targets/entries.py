"""Entries: whatever bytes stand in a stream become rows or dead letters, each row a line of its file, none forged."""

from functools import cache

from schemas.events import TYPES
from tests.fuzz.choices import Choices
from tests.unit.events import ALL_COLUMNS, row_settings
from worker.batch import TypeRenderer
from worker.decode import RawEntry
from worker.reading.parse import Parser, delimited, json_line, layout_of
from worker.rows import Layout
from worker.settings import Format

_SHAPES = ((Format.TSV, "\t"), (Format.CSV, ";"), (Format.JSONL, "\t"), (Format.ORIGINAL, "\t"), (Format.CSV, ","))
_BETWEEN = b"\x00\xff"  # entries; neither byte stands in JSON


def check(data: bytes) -> None:
    """Render entries of one type, and read the rows back."""
    choices = Choices(data)
    event_type, (row_format, separator) = choices.one(TYPES), choices.one(_SHAPES)
    name = choices.one((b"events", b"events", b"events", b"event"))
    entries: list[RawEntry] = [
        (f"1795373309671-{number}".encode(), [name, payload, b"n", b"1", b"at", str(number).encode()])
        for number, payload in enumerate(choices.rest().split(_BETWEEN))
    ]
    part = _renderer(event_type, row_format, separator).part(entries)
    with_rows = set(part.ids) - {letter.entry_id for letter in part.dead if letter.position == -1}
    assert part.ids == [entry_id for entry_id, _ in entries]
    assert bool(with_rows) == bool(part.row_count) or any(letter.position >= 0 for letter in part.dead)
    lines = part.rows.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == part.row_count >= part.event_count
    parse = _parser(row_format, separator)
    for line in lines:
        assert set(parse(line + b"\n")) == set(ALL_COLUMNS)


@cache
def _renderer(event_type: str, row_format: Format, separator: str) -> TypeRenderer:
    return TypeRenderer(event_type, row_settings(layout=row_format, separator=separator))


@cache
def _parser(row_format: Format, separator: str) -> Parser:
    if row_format is Format.JSONL:
        return json_line
    layout: Layout = layout_of(row_format, separator)
    return delimited(layout, ALL_COLUMNS)
