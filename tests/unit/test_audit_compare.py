"""Hashes of both sides, compared: the counts are those of the definition, however few rows a partition has."""

import tempfile
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.audit.deep import spill
from worker.audit.deep.compare import Difference, compare
from worker.audit.deep.spill import Parts, Side, Spill

Rows = Mapping[Side, Sequence[int]]

LARGE = st.integers(-(2**63), 2**63 - 1)
FEW = st.sampled_from([100**power for power in range(5)])  # most of them twice; no two sums of them are the same


@st.composite
def both_sides(draw: st.DrawFn) -> dict[Side, list[int]]:
    """Draw rows of events, and let most of them stand, one or the other twice, and some that no event has."""
    rows = st.lists(draw(st.sampled_from([LARGE, FEW])), max_size=8)
    sides = {side: draw(rows) for side in Side}
    told_by = (Side.EXPECTED, Side.ELSEWHERE, Side.KNOWN)[: draw(st.integers(1, 3))]
    told = [row for side in told_by for row in sides[side]]
    often = draw(st.lists(st.sampled_from([1, 1, 1, 0, 2]), min_size=len(told), max_size=len(told)))
    if draw(st.booleans()):
        often, sides[Side.FOUND] = [1] * len(told), []
    return sides | {Side.FOUND: sides[Side.FOUND] + [row for row, n in zip(told, often, strict=True) for _ in range(n)]}


def defined(rows: Rows) -> Difference:
    """Return how the sides differ, by definition."""
    expected, elsewhere, known, found, old = (Counter(rows[side]) for side in Side)
    told, there = expected + elsewhere + known, found + old
    missing = Counter({row: count - there[row] for row, count in expected.items() if count > there[row]})
    absent = {row: min(n, max(0, expected[row] + n - there[row])) for row, n in elsewhere.items()}
    strange = there.keys() - told.keys()
    return Difference(
        missing=missing.total(),
        elsewhere=sum(absent.values()),
        doubled=sum(there[row] - told[row] for row in told if there[row] > told[row]),
        unexpected=sum(found[row] for row in strange),
        old=sum(old[row] for row in strange),
        missing_hashes=missing,
        elsewhere_hashes={row for row, count in absent.items() if count},
        doubled_hashes={row for row in told if there[row] > told[row]},
        unexpected_hashes={row for row in strange if found[row]},
    )


def compared(rows: Rows, unseen: Sequence[int] = ()) -> Difference:
    """Return how they differ; expected rows are added one by one, in segments of three."""
    with tempfile.TemporaryDirectory() as directory:
        spilled = Spill(Path(directory))
        for side in Side:
            for place, row in enumerate(rows[side]):
                spilled.add(side, [row], place // 3)
        difference = Difference()
        compare(spilled.partitions(unseen), difference)
        return difference


@pytest.fixture(params=[1, 100_000])
def _rows_each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_ROWS_EACH", request.param)
    monkeypatch.setattr(spill, "_BLOCK", 1 + request.param)
    monkeypatch.setattr(spill, "_KEPT", request.param)


@pytest.mark.usefixtures("_rows_each")
def test_what_is_missing_doubled_or_of_no_event_is_counted_row_by_row() -> None:
    @settings(max_examples=150, derandomize=True, database=None, deadline=None)
    @given(both_sides())
    def check(rows: dict[Side, list[int]]) -> None:
        assert compared(rows) == defined(rows)

    check()


@pytest.mark.usefixtures("_rows_each")
def test_expected_rows_of_segments_that_cannot_be_seen_may_be_elsewhere() -> None:
    @settings(max_examples=100, derandomize=True, database=None, deadline=None)
    @given(both_sides(), st.sets(st.integers(0, 4), min_size=1))
    def check(rows: dict[Side, list[int]], unseen: set[int]) -> None:
        placed = [(row, place // 3 in unseen) for place, row in enumerate(rows[Side.EXPECTED])]
        moved = {
            Side.EXPECTED: [row for row, is_unseen in placed if not is_unseen],
            Side.ELSEWHERE: [*rows[Side.ELSEWHERE], *(row for row, is_unseen in placed if is_unseen)],
        }
        assert compared(rows, [*unseen]) == defined(rows | moved)

    check()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([3, 1, 2, 9, 8], [1, 2, 3]),  # all that may stand does
    ],
)
def test_where_everything_stands_as_expected_nothing_is_read_back(
    tmp_path: Path, found: list[int], expected: list[int]
) -> None:
    spilled = Spill(tmp_path)
    for side, rows in ((Side.FOUND, found), (Side.EXPECTED, expected), (Side.KNOWN, [8, 9])):
        spilled.add(side, rows)
    assert list(spilled.partitions()) == []
    assert len(list(spilled.partitions([0]))) == 1


@pytest.mark.parametrize(("found", "doubled"), [([1, 1, 1, 2], 2), ([1, 1, 2, 2], 2), ([0, 3], 0)])
def test_sums_that_agree_do_not_hide_rows_that_stand_too_often(found: list[int], doubled: int) -> None:
    difference = compared({side: [] for side in Side} | {Side.EXPECTED: [1, 2], Side.FOUND: found})
    assert difference.doubled == doubled
    assert difference.is_empty == (found == [0, 3])  # equal sums of unequal numbers: once in 2^64 of random ones


def test_records_stay_whole_in_the_partition_of_their_first_number(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "pairs", 4, width=2)
    for first in range(10):
        parts.add(array("q", [first, -first]))
    assert [parts.read(number).tolist() for number in range(4)] == [
        [0, 0, 4, -4, 8, -8], [1, -1, 5, -5, 9, -9], [2, -2, 6, -6], [3, -3, 7, -7],
    ]  # fmt: skip
