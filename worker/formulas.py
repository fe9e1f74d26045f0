"""Formulas: values that a spreadsheet would compute, or run, in place of showing them. Pure.

What begins with one of `= + - @`, in their full width too, behind blanks or not, gets a single quote in front, by which
spreadsheets know a text. TAB and CR, which are dangerous there too, are blanks in a row by then. Where values are never
quoted (a TAB between the columns), spreadsheets take a double quote at the beginning away, so it counts too. The guard
can be undone: a value that looks guarded by itself gets a second one.
"""

import re

_SIGNS = r"=+\-@＝＋－＠"  # noqa: RUF001 - these are meant
_FORMULA = {True: re.compile(rf"[\s']*[{_SIGNS}\"]"), False: re.compile(rf"[\s']*[{_SIGNS}]")}


def guarded(text: str, separator: str) -> str:
    """Return a value as it may stand in a cell of a spreadsheet."""
    return f"'{text}" if _FORMULA[separator == "\t"].match(text) else text


def unguarded(cell: str, separator: str) -> str:
    """Return the value of a cell that `guarded` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA[separator == "\t"].match(cell, 1) else cell
