"""Cells that a spreadsheet would compute: none is left where the guard is on, and each value reads back."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.events import row_settings
from worker.batch import TypeRenderer
from worker.decode import RawEntry
from worker.formulas import guarded, unguarded
from worker.reading.parse import delimited, layout_of
from worker.settings import Format

SIGNS = "=+-@＝＋－＠"  # noqa: RUF001 - these are meant
FORMULAS = [
    "=cmd|'/C calc'!A0", "+1", "-2+3", "@SUM(1,2)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\u3000\uff1d1",
    "\uff0d1", "'=1", "''=1", "' =1", "\x0b+1", "\u2028@x", "\x85=1", "=1;2", '="x"&"y"', "-", "--", "=", "@",
]  # fmt: skip
PLAIN = ["a=b", "x", "'", "it's", "''", "1-2", " x", "550 5.1.1 =no", "user+tag@example.com", "'x", "\u2212" + "1"]
COLUMNS = ("rcpt", "dsnMsg", "custom_Subject")


def rows(values: list[str], layout: Format, separator: str, *, guard: bool) -> list[bytes]:
    settings = row_settings(COLUMNS, layout=layout, separator=separator, guarded=guard)
    events = [
        {"eventId": f"{number}:0", "type": "b", "v": 1, "timeLogged": 1, "jobId": "J", "custom": {"subject": value},
         "rcpts": [{"rcpt": value, "dsnStatus": "5.0.0", "dsnMsg": value}]}
        for number, value in enumerate(values)
    ]  # fmt: skip
    entry: RawEntry = (b"1-0", [b"events", json.dumps(events, ensure_ascii=False).encode()])
    part = TypeRenderer("bounce", settings).part([entry])
    assert part.row_count == len(values)
    return [line + b"\n" for line in part.rows.split(b"\n")[:-1]]


def cells(line: bytes, separator: str) -> list[str]:
    """Take a row apart as a spreadsheet does, which strips blanks in some settings."""
    return next(csv.reader(io.StringIO(line.decode().strip("\r\n")), delimiter=separator))


@pytest.mark.parametrize(
    ("layout", "separator"), [(Format.CSV, ","), (Format.CSV, ";"), (Format.TSV, "\t"), (Format.ORIGINAL, ";")]
)
def test_no_cell_of_a_guarded_file_begins_like_a_formula_and_each_reads_back(layout: Format, separator: str) -> None:
    for value in FORMULAS:
        [line] = rows([value], layout, separator, guard=True)
        assert all(not cell.strip().startswith(tuple(SIGNS)) for cell in cells(line, separator)), value
        parse = delimited(layout_of(layout, separator), COLUMNS, guarded=True)
        unchanged = delimited(layout_of(layout, separator), COLUMNS)(rows([value], layout, separator, guard=False)[0])
        assert parse(line) == unchanged
    assert rows(PLAIN, layout, separator, guard=True) == rows(PLAIN, layout, separator, guard=False)


def test_where_nothing_is_quoted_a_value_in_quotes_is_guarded() -> None:
    [line] = rows(['"=1+1"'], Format.TSV, "\t", guard=True)
    assert line == b'\'"=1+1"\t' * 2 + b'\'"=1+1"\n'
    [line] = rows(['"=1+1"'], Format.CSV, ",", guard=True)
    assert cells(line, ",") == ['"=1+1"'] * 3


def test_missing_values_and_numbers_are_no_formulas() -> None:
    settings = row_settings(("vmta", "totalSecondsQueued", "dsnMsg"), guarded=True)
    event = {
        "eventId": "1:0", "type": "b", "v": 1, "timeLogged": 1_000, "timeQueued": 3_500, "jobId": "J",
        "rcpts": [{"rcpt": "x", "dsnStatus": "5.0.0", "dsnMsg": "m"}],
    }  # fmt: skip
    entry: RawEntry = (b"1-0", [b"events", json.dumps([event]).encode()])
    assert TypeRenderer("bounce", settings).part([entry]).rows == b"-\t-2.500\tm\n"


@given(st.text(alphabet=st.sampled_from("=+-@＝' \"x\u00a0")) | st.text(), st.sampled_from("\t,;"))  # noqa: RUF001
def test_the_guard_can_be_undone_whatever_the_value(value: str, separator: str) -> None:
    cell = guarded(value, separator)
    assert unguarded(cell, separator) == value
    assert not cell.lstrip().startswith(tuple(SIGNS))


def test_a_file_that_is_not_guarded_is_written_by_the_same_code_as_ever() -> None:
    off, on = (TypeRenderer("bounce", row_settings(COLUMNS, guarded=guard)).rows for guard in (False, True))
    assert b"guard" not in off._plain.__code__.co_code
    assert ("guard" in off._plain.__code__.co_names, "guard" in on._plain.__code__.co_names) == (False, True)
