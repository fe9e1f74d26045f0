"""Lines read back as what was written, in every format, whatever the values hold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from tests.unit.events import ALL_COLUMNS, Batch, batches, render, row_settings
from worker.reading.parse import BadLine, NotAHeader, delimited, find_column, json_line, layout_of, read_header
from worker.rows import Layout, header
from worker.settings import Format

DELIMITED = [Format.TSV, Format.CSV, Format.ORIGINAL]
SEPARATORS = ["\t", ",", ";", "|", "^", "]", "§"]


def lines_of(content: bytes) -> list[bytes]:
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def expected(batch: Batch, event_type: str, missing: str) -> list[dict[str, str]]:
    """Return what a reader should find, by the tests' own oracle; a text like a missing value reads as one."""
    return [
        {column: "-" if cell == missing else cell for column, cell in zip(ALL_COLUMNS, cells, strict=True)}
        for cells in batch.cells(event_type, ALL_COLUMNS)
    ]


@settings(max_examples=150, deadline=None)
@given(
    batch=batches(),
    layout_format=st.sampled_from(DELIMITED),
    separator=st.sampled_from(SEPARATORS),
    guarded=st.booleans(),
)
def test_delimited_rows_read_back_as_the_values_that_were_written(
    batch: Batch, layout_format: Format, separator: str, *, guarded: bool
) -> None:
    configured = row_settings(layout=layout_format, separator=separator, guarded=guarded)
    layout = layout_of(layout_format, separator)
    columns = read_header(header(ALL_COLUMNS, configured), layout)
    parse = delimited(layout, columns, guarded=guarded)
    for event_type in TYPES:
        lines = lines_of(render(event_type, configured, batch.entries(event_type)))
        assert [parse(line) for line in lines] == expected(batch, event_type, layout.missing)


@settings(max_examples=60, deadline=None)
@given(batch=batches())
def test_json_lines_read_back_as_the_values_that_were_written(batch: Batch) -> None:
    configured = row_settings(layout=Format.JSONL)
    for event_type in TYPES:
        lines = lines_of(render(event_type, configured, batch.entries(event_type)))
        found = [dict(json_line(line)) for line in lines]
        wanted = expected(batch, event_type, "-")
        for row in (*found, *wanted):
            seconds = row.pop("totalSecondsQueued")
            row["number"] = seconds if seconds == "-" else repr(float(seconds))
        assert found == wanted


def test_the_layout_is_that_of_the_writer() -> None:
    for layout_format in DELIMITED:
        for separator in SEPARATORS:
            written = Layout.of(layout_format, separator)
            assert layout_of(layout_format, separator) == written


@pytest.mark.parametrize(
    "line",
    [b"", b"type\trcpt", b"type\trcpt\r\n", b"type,rcpt\n", b"rcpt\tfoo\n", b"\n", b"type\t\xffrcpt\n", b'{"a":1}\n'],
)
def test_a_line_that_names_no_fields_in_the_format_is_no_header(line: bytes) -> None:
    with pytest.raises(NotAHeader):
        read_header(line, layout_of(Format.TSV, "\t"))


@pytest.mark.parametrize("line", [b"", b"a\n", b"a;b;c\n", b"a;b", b'"a;b\n', b'a"b;c\n', b'"a"x;b\n', b"\xff;b\n"])
def test_a_line_without_the_shape_of_its_file_is_bad(line: bytes) -> None:
    with pytest.raises(BadLine):
        delimited(layout_of(Format.CSV, ";"), ["rcpt", "jobId"])(line)


@pytest.mark.parametrize("line", [b"", b"a\n", b"[1]\n", b'{"a":', b"\xff\n", b"[" * 100_000])
def test_a_line_that_is_no_json_object_is_bad(line: bytes) -> None:
    with pytest.raises(BadLine):
        json_line(line)


def test_numbers_of_json_stay_as_they_are_written() -> None:
    line = b'{"delay":86400.250,"attempts":3,"dlvTls":false,"vmta":null,"orig":"1e3"}\n'
    assert json_line(line) == {
        "delay": "86400.250", "attempts": "3", "dlvTls": "false", "vmta": "-", "orig": "1e3"
    }  # fmt: skip


def test_a_header_column_is_found_whatever_its_case() -> None:
    columns = ["rcpt", "custom_X-Campaign"]
    assert find_column("custom_x-campaign", columns) == "custom_X-Campaign"
    assert find_column("RCPT", columns) is None
