"""The ini file as text: which lines are settings, in the dialect of Haraka's own configuration files.

`;` and `#` begin a comment line; there are no comments behind a value, so that `separator=;` means the semicolon.
Keys before any section belong to `main`. A backslash at the end of a line joins it with the next one.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

MAIN = "main"

_LINE_END = re.compile(r"\r\n|\r|\n")  # nothing else: a form feed or U+2028 inside a value must not move line numbers
_SECTION = re.compile(r"\[([^\]]*)\]")


class Section(Struct, frozen=True):
    """A `[section]` line."""

    line: int
    name: str


class Entry(Struct, frozen=True):
    """A `key = value` line. The value is stripped, except that blanks with a TAB among them are a TAB."""

    line: int
    section: str
    key: str
    value: str


class Stray(Struct, frozen=True):
    """A line that is neither comment, section nor setting."""

    line: int
    text: str


def read(text: str) -> Iterator[Section | Entry | Stray]:
    """Yield what stands in the text, in its order, with line numbers from 1."""
    section = MAIN
    for line, content in _whole_lines(text.removeprefix("\ufeff")):
        key, equals, value = content.partition("=")
        if heading := _SECTION.fullmatch(content.strip()):
            section = heading[1].strip()
            yield Section(line, section)
        elif equals and key.strip():
            yield Entry(line, section, key.strip(), _stripped(value))
        else:
            yield Stray(line, content.strip())


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, continued ones joined, with the number of their first line."""
    begun: list[str] = []
    start = 0
    for line, content in enumerate(_LINE_END.split(text), start=1):
        bare = content.strip()
        if not bare or bare.startswith((";", "#")):
            continue
        if begun and _SECTION.fullmatch(bare):
            yield start, "".join(begun)
            begun = []
        start = start if begun else line
        end = content.rstrip(" \t")
        if end.endswith("\\"):
            begun.append(end[:-1])
            continue
        yield start, "".join((*begun, content))
        begun = []
    if begun:
        yield start, "".join(begun)


def _stripped(value: str) -> str:
    """Return the value without blanks around it; a TAB alone is a value (`separator=<TAB>`)."""
    return value.strip() or ("\t" if "\t" in value else "")
