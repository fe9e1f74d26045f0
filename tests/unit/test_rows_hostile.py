"""Rows of hostile events read back: whatever remote servers and headers wrote, a file has its rows and columns."""

import csv
import io
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from tests.unit.events import (
    ALL_COLUMNS,
    Batch,
    batches,
    cleaned,
    event,
    harmless_texts,
    hostile_texts,
    payload,
    render,
    row_settings,
)
from worker.decode import Decoder, RawEntry
from worker.rows import Rows, header, is_suspect
from worker.settings import Format, RowSettings

FILES = [
    pytest.param(row_settings(), id="tsv"),
    pytest.param(row_settings(separator=";"), id="tsv-semicolon"),
    pytest.param(row_settings(layout=Format.CSV, separator=","), id="csv"),
]
LAYOUTS = [
    *(row_settings(layout=Format.CSV, separator=separator) for separator in "\t,;|é{}\\'#"),
    row_settings(layout=Format.ORIGINAL),
    row_settings(layout=Format.ORIGINAL, separator=","),
]
EVENTS_A_BATCH = 34  # of each of the three types; with 100 batches more than 10 000 events
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]

quiet = settings(derandomize=True, database=None, deadline=None)


class Generated(NamedTuple):
    """Generated entries of one type, and the cells of the rows that they should become."""

    entries: Sequence[Sequence[RawEntry]]
    rows: Sequence[list[str]]


@pytest.fixture(scope="module")
def generated() -> Mapping[str, Generated]:
    """Return 100 batches by type, 10 200 events of hostile text in all."""
    found: list[Batch] = []

    @settings(quiet, max_examples=100, phases=[Phase.generate])
    @given(batches(size=EVENTS_A_BATCH))
    def collect(batch: Batch) -> None:
        found.append(batch)

    collect()
    assert sum(len(events) for batch in found for events in batch.events.values()) >= 10_000
    return {
        event_type: Generated(
            [batch.entries(event_type) for batch in found],
            [row for batch in found for row in batch.cells(event_type, ALL_COLUMNS)],
        )
        for event_type in TYPES
    }


def written_file(path: Path, event_type: str, configured: RowSettings, generated: Generated) -> Path:
    """Write one file of all generated events of a type."""
    rows = (render(event_type, configured, entries) for entries in generated.entries)
    path.write_bytes(header(ALL_COLUMNS, configured) + b"".join(rows))
    return path


def read_back(text: str, separator: str) -> list[list[str]]:
    """Read a file's text with Python's csv module: unquoted with TAB, as in RFC 4180 with other separators."""
    lines = io.StringIO(text, newline="")
    if separator == "\t":
        return list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True))
    return list(csv.reader(lines, delimiter=separator, strict=True))


def cut(path: Path, fields: str) -> list[str]:
    """Return what `cut -f` prints."""
    done = subprocess.run(["cut", "-f", fields, path], check=True, capture_output=True)
    return done.stdout.decode().removesuffix("\n").split("\n")


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("configured", FILES)
def test_csv_reads_every_value_of_10_000_hostile_events_back_in_its_column(
    configured: RowSettings, event_type: str, generated: Mapping[str, Generated], tmp_path: Path
) -> None:
    path = written_file(tmp_path / "file", event_type, configured, generated[event_type])
    found = read_back(path.read_bytes().decode(), configured.separator)
    due = [[*ALL_COLUMNS], *generated[event_type].rows]
    for number, (row, expected) in enumerate(zip(found, due, strict=True)):
        assert row == expected, f"row {number}"


@pytest.mark.parametrize("event_type", TYPES)
def test_cut_finds_every_value_of_10_000_hostile_events_in_its_column(
    event_type: str, generated: Mapping[str, Generated], tmp_path: Path
) -> None:
    path = written_file(tmp_path / "file", event_type, row_settings(), generated[event_type])
    rows = [[*ALL_COLUMNS], *generated[event_type].rows]
    for position, column in enumerate(zip(*rows, strict=True)):
        assert cut(path, str(position + 1)) == list(column), ALL_COLUMNS[position]
    assert set(cut(path, f"{len(ALL_COLUMNS) + 1}-")) == {""}


@pytest.mark.parametrize("event_type", TYPES)
def test_hostile_values_read_back_with_controls_as_spaces(event_type: str) -> None:
    @settings(quiet, max_examples=60)
    @given(st.sampled_from(LAYOUTS), batches())
    def check(configured: RowSettings, batch: Batch) -> None:
        text = (header(ALL_COLUMNS, configured) + render(event_type, configured, batch.entries(event_type))).decode()
        original = configured.format is Format.ORIGINAL
        trailing = [""] if original else []
        rows = [[*ALL_COLUMNS], *batch.cells(event_type, ALL_COLUMNS, " - " if original else "-")]
        assert read_back(text, configured.separator) == [row + trailing for row in rows]
        assert len(text.splitlines()) == len(rows)  # counts U+0085, U+2028 and their like as ends of lines

    check()


@pytest.mark.parametrize("event_type", TYPES)
def test_batch_that_is_not_suspect_gives_the_same_bytes_cleaned_or_not(event_type: str) -> None:
    @settings(quiet, max_examples=60)
    @given(st.sampled_from(LAYOUTS), batches(texts=harmless_texts))
    def check(configured: RowSettings, batch: Batch) -> None:
        entries = batch._replace(ascii_only=False).entries(event_type)
        decoded = Decoder(event_type, ALL_COLUMNS).decode(entries)
        assert not decoded.suspect
        rows = Rows(event_type, configured)
        plain = rows.render(decoded.ids, decoded.events, suspect=False)
        assert plain == rows.render(decoded.ids, decoded.events, suspect=True)

    check()


@pytest.mark.parametrize("code", CONTROLS, ids=hex)
@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "raw"])
def test_control_character_becomes_one_space(code: int, escaped: bool) -> None:  # noqa: FBT001
    one = event("bounce", rcpts=[{"rcpt": "a", "dsnMsg": f"x{chr(code)}{chr(code)}y"}])
    rows = render("bounce", row_settings(["rcpt", "dsnMsg"]), [(b"1-0", payload(one, ascii_only=escaped))])
    assert rows == b"a\tx  y\n"


def test_characters_beside_the_controls_stay() -> None:
    text = " ~\xa0\xad\u2027\u202a\ufeff\U0010ffff"
    assert cleaned(text) == text
    one = event("bounce", rcpts=[{"rcpt": text}])
    assert render("bounce", row_settings(["rcpt"]), [(b"1-0", payload(one))]).decode() == text + "\n"


@pytest.mark.parametrize("event_type", TYPES)
def test_jsonl_line_has_the_columns_as_keys_and_the_cleaned_values(event_type: str) -> None:
    configured = row_settings(layout=Format.JSONL)

    @settings(quiet, max_examples=30)
    @given(batches())
    def check(batch: Batch) -> None:
        text = render(event_type, configured, batch.entries(event_type)).decode()
        lines = [json.loads(line) for line in text.splitlines()]
        assert all(tuple(line) == ALL_COLUMNS for line in lines)
        assert [list(map(as_cell, ALL_COLUMNS, line.values())) for line in lines] == batch.cells(
            event_type, ALL_COLUMNS
        )

    check()


def as_cell(column: str, value: object) -> str:
    """Write a value of a JSON line as it stands in a delimited file."""
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float() if column == "totalSecondsQueued":
            return f"{value:.3f}"
        case _:
            return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@st.composite
def json_strings(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a text, and a JSON string for it in which any character may be escaped in any way or stand as it is."""
    text = draw(hostile_texts)
    return text, b'"' + b"".join(draw(st.sampled_from(spellings(char))) for char in text) + b'"'


def spellings(char: str) -> list[bytes]:
    """Return every way to write a character in a JSON string."""
    units = char.encode("utf-16-be").hex()
    escape = "".join("\\u" + units[start : start + 4] for start in range(0, len(units), 4))
    found = [escape.encode(), escape.upper().replace("\\U", "\\u").encode()]
    if char in SHORT:
        found.append(SHORT[char].encode())
    if char >= " " and char not in '"\\':
        found.append(char.encode())
    return found


@settings(quiet, max_examples=500)
@given(json_strings())
def test_json_that_yields_a_control_a_quote_or_a_backslash_is_always_suspect(drawn: tuple[str, bytes]) -> None:
    text, written = drawn
    assert json.loads(written) == text
    if cleaned(text) != text or '"' in text or "\\" in text:
        assert is_suspect(b'[{"rcpts":[{"rcpt":' + written + b"}]}]")


@settings(quiet, max_examples=200)
@given(harmless_texts)
def test_json_of_harmless_text_is_not_suspect(text: str) -> None:
    assert not is_suspect(payload(text)[1])


@settings(quiet, max_examples=200)
@given(
    before=st.text(st.sampled_from("aé€\U0001f4e7"), max_size=40),
    control=st.integers(0, 0x1F),
    after=st.text(st.sampled_from("aé€\U0001f4e7"), max_size=40),
)
def test_raw_control_of_c0_in_json_never_becomes_an_event(before: str, control: int, after: str) -> None:
    raw = payload(event("bounce", rcpts=[{"rcpt": "RCPT"}]))
    raw[1] = raw[1].replace(b"RCPT", f"{before}{chr(control)}{after}".encode())
    decoded = Decoder("bounce", ALL_COLUMNS).decode([(b"1-0", raw)])
    assert (len(decoded.ids), len(decoded.dead)) == (0, 1)
