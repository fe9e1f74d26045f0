"""Lines back to values: the inverse of `worker.rows`, in every format. Pure.

A value is the text that stands in the file, without its quotes; one that is missing is `-` in every format (a value
that *is* a hyphen cannot be told from it).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from schemas.catalogue import FIELDS, header_of, is_custom
from worker.formulas import unguarded
from worker.rows import Layout
from worker.settings import Format

MISSING = "-"

Parser = Callable[[bytes], Mapping[str, str]]


class NotAHeader(ValueError):
    """The first line of a file does not name accounting fields in the expected format."""


class BadLine(ValueError):
    """A line does not have the shape of its file."""


def layout_of(layout_format: Format, separator: str) -> Layout:
    """Return how the cells of a file stand in a line."""
    return Layout.of(layout_format, separator)


def read_header(line: bytes, layout: Layout) -> tuple[str, ...]:
    """Return the columns that the first line of a delimited file names. Raises NotAHeader."""
    text = line.decode("utf-8", "replace")
    names = tuple(text.removesuffix(layout.terminator).split(layout.separator))
    if not text.endswith(layout.terminator) or not all(is_known(name) for name in names):
        raise NotAHeader
    return names


def is_known(column: str) -> bool:
    """Tell whether there is such an accounting field."""
    return column in FIELDS or is_custom(column)


def find_column(name: str, columns: Sequence[str]) -> str | None:
    """Return how a file calls a column, None where it has none; headers are the same whatever their case."""
    if name in columns:
        return name
    if not is_custom(name):
        return None
    return next((each for each in columns if is_custom(each) and header_of(each) == header_of(name)), None)


def delimited(layout: Layout, columns: Sequence[str], *, guarded: bool = False) -> Parser:
    """Return what takes the lines of a delimited file apart, `guarded` ones too. The parser raises BadLine."""
    split = str.split if layout.separator == "\t" else _quoted
    separator, terminator, missing = layout

    def parse(line: bytes) -> Mapping[str, str]:
        text = _decoded(line)
        if not text.endswith(terminator):
            raise BadLine
        cells = split(text.removesuffix(terminator), separator)
        if len(cells) != len(columns):
            raise BadLine
        if guarded:
            cells = [unguarded(cell, separator) for cell in cells]
        return dict(zip(columns, (MISSING if cell == missing else cell for cell in cells), strict=True))

    return parse


_objects = msgspec.json.Decoder(dict[str, Any], float_hook=str)  # a number stays as it is written


def json_line(line: bytes) -> Mapping[str, str]:
    """Take a line of a jsonl file apart. Raises BadLine."""
    try:
        values = _objects.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine from error
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    match value:
        case None:
            return MISSING
        case True | False:
            return str(value).lower()
        case _:
            return str(value)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadLine from error


def _quoted(text: str, separator: str) -> list[str]:
    """Split a line whose values are quoted as in RFC 4180 where they hold the separator or a quote."""
    if '"' not in text:
        return text.split(separator)
    cells, at = [], 0
    cell = re.compile(f'(?:"([^"]*(?:""[^"]*)*)"|([^"{re.escape(separator)}]*))({re.escape(separator)}|\\Z)')
    while found := cell.match(text, at):
        quoted, plain, end = found.groups()
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        if not end:
            return cells
        at = found.end()
    raise BadLine
