"""Layouts of files, told by manifests and first lines; rows in several of them, told by what all of them show."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.events import row_settings
from worker.audit.deep.compare import Difference, compare
from worker.audit.deep.forms import Hashed
from worker.audit.deep.join import Join
from worker.audit.deep.layout import Layout, Shape, common, layouts_of_open, shape_of
from worker.audit.deep.spill import Side, Spill
from worker.settings import Format

BERLIN = ZoneInfo("Europe/Berlin")
TSV = Shape(Format.TSV, "\t", ("type", "rcpt", "timeLogged"))
CSV = Shape(Format.CSV, ";", ("type", "rcpt", "custom_X-Mailing"))
JSONL = Shape(Format.JSONL, "\t", ("type", "rcpt"))
ORIGINAL = Shape(Format.ORIGINAL, "\t", ("type", "rcpt", "timeLogged"))
ALL = [TSV, CSV, JSONL, ORIGINAL]


@pytest.mark.parametrize("shape", ALL)
@pytest.mark.parametrize("likely", [ALL, ALL[::-1]])
def test_a_first_line_tells_the_shape_that_it_is_the_header_of(shape: Shape, likely: Sequence[Shape]) -> None:
    line = shape.header or b'{"type":"b","rcpt":"a@example.com"}'
    assert shape_of(line, likely) == shape


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"rcpt\tjobId", TSV._replace(columns=("rcpt", "jobId"))),
        (b"rcpt;custom_x", CSV._replace(columns=("rcpt", "custom_x"))),
        (b"rcpt\tjobId\t\r", ORIGINAL._replace(columns=("rcpt", "jobId"))),
        (b'{"jobId":null,"attempts":1}', JSONL._replace(columns=("jobId", "attempts"))),
        (b"", TSV),
        (b"no\theader", TSV),
        (b'{"no":"field"}', TSV),
        (b'{"type', TSV),
        (b"\xff", TSV),
    ],
)
def test_a_first_line_that_nobody_knows_tells_its_columns_or_nothing(line: bytes, expected: Shape) -> None:
    assert shape_of(line, ALL) == expected


def test_an_open_file_may_be_in_the_time_zones_of_all_files_of_its_shape() -> None:
    known = [Layout(TSV, "UTC"), Layout(TSV, "Europe/Berlin"), Layout(CSV, "Asia/Tokyo")]
    found = list(layouts_of_open(TSV.header, known, Layout(JSONL, "UTC")))
    assert found == [Layout(TSV, "UTC"), Layout(TSV, "Europe/Berlin")]
    assert list(layouts_of_open(b"", known, Layout(JSONL, "UTC"))) == [Layout(JSONL, "UTC")]


@pytest.mark.parametrize(
    ("layouts", "columns"),
    [
        ([Layout(TSV, "UTC"), Layout(ORIGINAL, "UTC")], ("type", "rcpt", "timeLogged")),
        ([Layout(TSV, "UTC"), Layout(ORIGINAL, "Europe/Berlin")], ("type", "rcpt")),  # an instant is two texts
        ([Layout(TSV, "UTC"), Layout(CSV, "UTC"), Layout(JSONL, "UTC")], ("type", "rcpt")),
        ([Layout(TSV, "UTC"), Layout(TSV._replace(columns=("jobId",)), "UTC")], ("type",)),
    ],
)
def test_what_layouts_have_in_common_is_what_all_of_them_show_alike(
    layouts: Sequence[Layout], columns: tuple[str, ...]
) -> None:
    assert common(layouts).shape == Shape(Format.TSV, "\t", columns)


def test_a_separator_makes_no_other_layout_of_jsonl() -> None:
    settings_of = [row_settings(layout=Format.JSONL, separator=separator) for separator in "\t;"]
    assert len({Layout.configured(each, "bounce") for each in settings_of}) == 1


class Event:
    """An event row: what both layouts show of it, and what each of them shows besides."""

    def __init__(self, shown: int, first: int, second: int) -> None:
        self.number = shown
        self.forms = [1_000 * (1 + layout) + 10 * shown + own for layout, own in enumerate((first, second))]


events = st.lists(st.builds(Event, st.integers(1, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12)


def joined(rows: Sequence[Event], found: Sequence[int]) -> Difference:
    """Return how rows that all must stand differ from what does."""
    with tempfile.TemporaryDirectory() as directory:
        spill, join = Spill(Path(directory)), Join(Path(directory) / "join")
        hashed = Hashed([row.number for row in rows], list(zip(*(row.forms for row in rows), strict=True)))
        spill.add(Side.EXPECTED, hashed.numbers)
        join.add_events(hashed)
        join.add_rows(Side.FOUND, found)
        difference = join.number(spill)
        compare(spill.partitions(), difference)
        return difference


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(events, st.data())
def test_rows_are_accounted_for_whichever_layout_each_of_them_is_in(rows: list[Event], data: st.DataObject) -> None:
    found = [row.forms[data.draw(st.integers(0, 1))] for row in rows]
    assert joined(rows, found) == Difference()
    gone = data.draw(st.integers(0, len(rows) - 1))
    without = joined(rows, found[:gone] + found[gone + 1 :])
    assert (without.missing, without.doubled, without.unexpected) == (1, 0, 0)
    assert without.missing_hashes == {rows[gone].number: 1}
    twice = joined(rows, [*found, data.draw(st.sampled_from(rows[gone].forms))])
    assert (twice.missing, twice.doubled, twice.unexpected) == (0, 1, 0)
    strange = joined(rows, [*found[:gone], 77, *found[gone + 1 :]])
    assert (strange.missing, strange.doubled, strange.unexpected) == (1, 0, 1)
    assert strange.unexpected_hashes == {77}


def test_a_row_has_no_form_in_a_layout_that_cannot_show_it() -> None:
    assert list(Hashed([1, 2, 3], [[10, None, 30], [10, 21, None]]).pairs()) == [(10, 1), (21, 2), (30, 3)]
