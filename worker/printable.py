r"""Printable text: what others wrote, as it may stand on a terminal or in a log. Pure.

Whatever is no visible character becomes an escape such as \x1b or \u202e: controls (C0, DEL, C1), what turns the
direction of writing and other formats, separators of lines and paragraphs, halves of surrogate pairs, bytes that are no
UTF-8, and letters without a glyph. So nothing of it moves a cursor, colours, forges a line, or hides.
"""

import re

#: Characters of a message; who wants all of a value asks for JSON, or looks into the file.
MOST = 2000

_ELLIPSIS = "…"
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # Hangul fillers and an empty Braille pattern: printable for Unicode
_BLANK = re.compile(f"[{_BLANK_LETTERS}]")


def is_printable(text: str) -> bool:
    """Tell whether every character of a text is one that can be seen, or a blank."""
    return text.isprintable() and (text.isascii() or not _BLANK.search(text))


def printable(value: bytes | str, most: int | None = None) -> str:
    """Return one line for people; of one that would be longer than `most`, its beginning and an ellipsis."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if most is not None:
        text = text[: most + 1]  # an escape is longer than what it stands for
    if not is_printable(text):
        text = "".join(map(_shown, text))
    return text if most is None or len(text) <= most else text[: most - 1] + _ELLIPSIS


def _shown(char: str) -> str:
    return char if is_printable(char) else char.encode("unicode_escape", "surrogatepass").decode("ascii")
