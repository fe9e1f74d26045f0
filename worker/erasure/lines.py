"""Lines of accounting files without an address: only the cells where it stands are written anew. Pure.

The same line gives the same bytes, so an audit can tell by an event what a row has to look like since.
"""

import re
from collections.abc import Sequence

import msgspec

from worker.erasure.matching import IsWanted, erased
from worker.rows import Layout, cleaner
from worker.settings import Format

_ADDRESSES = {"rcpt", "orig"}  # columns that hold one address

_ANY = b"@"

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


class Eraser:
    """Takes addresses out of the lines of files that look alike."""

    def __init__(
        self, layout_format: Format, separator: str, columns: Sequence[str], is_wanted: IsWanted, needle: bytes = _ANY
    ) -> None:  # fmt: skip
        """`needle` are bytes without which no address of these stands in a line, once ASCII is lower-cased."""
        self._needle = needle
        self._is_jsonl = layout_format is Format.JSONL
        self._layout = Layout.of(layout_format, separator)
        self._clean = cleaner(self._layout)
        self._columns = columns
        self._is_wanted = is_wanted

    def line(self, line: bytes) -> bytes:
        """Return a line, with or without its end; the same one where no wanted address stands in it."""
        if self._needle not in line.lower() and (self._needle != _ANY or b"%40" not in line):
            return line
        text = line.decode("utf-8", "surrogateescape")
        found = self._object(text) if self._is_jsonl else self._delimited(text)
        return line if found == text else found.encode("utf-8", "surrogateescape")

    def _delimited(self, text: str) -> str:
        end = next((each for each in (self._layout.terminator, "\r\n", "\n") if text.endswith(each)), "")
        if not end and text.endswith(rest := self._layout.terminator.removesuffix("\n")):
            end = rest
        cells = self._cells(text.removesuffix(end))
        if len(cells) != len(self._columns):
            return erased(text, self._is_wanted)
        named = zip(self._columns, cells, strict=True)
        return self._layout.separator.join(self._cell(column, cell) for column, cell in named) + end

    def _cells(self, text: str) -> list[str]:
        """Split a line into its cells, as they stand there."""
        separator = self._layout.separator
        if separator == "\t" or '"' not in text:
            return text.split(separator)
        between = re.escape(separator)
        cells = re.findall(rf'((?:"(?:[^"]|"")*"|[^{between}])*)(?:{between}|\Z)', text)
        return cells if text.endswith(separator) else cells[:-1]

    def _cell(self, column: str, cell: str) -> str:
        is_quoted = self._layout.separator != "\t" and len(cell) > 1 and cell.startswith('"') and cell.endswith('"')
        value = cell[1:-1].replace('""', '"') if is_quoted else cell
        found = erased(value, self._is_wanted, is_address=column in _ADDRESSES)
        return cell if found == value else self._clean(found)

    def _object(self, text: str) -> str:
        try:
            values = _object.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return erased(text, self._is_wanted)
        pairs = (f"{msgspec.json.encode(name).decode()}:{self._value(name, raw)}" for name, raw in values.items())
        return "{" + ",".join(pairs) + "}" + text[len(text.rstrip("\r\n")) :]

    def _value(self, name: str, raw: msgspec.Raw) -> str:
        stands = bytes(raw)
        if not stands.startswith(b'"'):
            return stands.decode()
        value = _text.decode(stands)
        found = erased(value, self._is_wanted, is_address=name in _ADDRESSES)
        return stands.decode() if found == value else msgspec.json.encode(found).decode()
