"""Lines: values that are written read back as they were, in every format; any other line is refused as one."""

import contextlib
import json

from schemas.events import TYPES
from tests.fuzz.choices import Choices
from tests.unit.events import ALL_COLUMNS, Batch, event, render, row_settings
from worker.reading.parse import BadLine, NotAHeader, Parser, delimited, json_line, layout_of, read_header
from worker.settings import Format

_SEPARATORS = ("\t", ",", ";", "|", "^", "]", "\\", "§", "\U0001f4e7")
_TEXTS = ("node", "jobId", "orig", "queue", "srcMta", "vmta", "dsnMta")


def check(data: bytes) -> None:
    """Read the input as lines, and write a row of what is in it and read that back."""
    choices = Choices(data)
    row_format, separator = choices.one(tuple(Format)), choices.one(_SEPARATORS)
    if choices.whole() % 2:
        _read(choices.rest(), row_format, separator)
    else:
        _write_and_read(choices, row_format, separator)


def _read(line: bytes, row_format: Format, separator: str) -> None:
    layout = layout_of(row_format, separator)
    with contextlib.suppress(NotAHeader):
        assert read_header(line, layout)
    for columns in (("rcpt",), ALL_COLUMNS):
        with contextlib.suppress(BadLine):
            assert set(delimited(layout, columns)(line)) == set(columns)
    with contextlib.suppress(BadLine):
        assert all(isinstance(value, str) for value in json_line(line).values())


def _write_and_read(choices: Choices, row_format: Format, separator: str) -> None:
    event_type = choices.one(TYPES)
    texts = {name: choices.text() for name in _TEXTS}
    given = {name: text for name, text in texts.items() if text}
    one = event(event_type, rcpts=[{"rcpt": choices.text() or "a@example.com"}], **given)
    if custom := choices.text():
        one["custom"] = {"x-campaign": custom}
    batch = Batch({event_type: [one]}, ascii_only=bool(choices.whole() % 2))
    line = render(event_type, row_settings(layout=row_format, separator=separator), batch.entries(event_type))
    assert line.count(b"\n") == 1
    layout = layout_of(row_format, separator)
    parse: Parser = json_line if row_format is Format.JSONL else delimited(layout, ALL_COLUMNS)
    [cells] = batch.cells(event_type, ALL_COLUMNS)
    missing = "-" if row_format is Format.JSONL else layout.missing
    expected = dict(zip(ALL_COLUMNS, ("-" if cell == missing else cell for cell in cells), strict=True))
    assert parse(line) == expected, json.dumps(one)
