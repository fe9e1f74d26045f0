"""Holes of a range: told exactly, however the entries come in pages, and never told where there is none."""

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.decode import RawEntry
from worker.numbers import numbers_of
from worker.records import id_order
from worker.replay.holes import Course, Hole
from worker.stream.ranges import Edge


def entry(number: int, n: int, at: int) -> RawEntry:
    """Return entry `number` as the publish script adds it."""
    return b"%d-0" % number, [b"events", b"[]", b"n", b"%d" % n, b"at", b"%d" % at]


def by_hand(number: int, *fields: bytes) -> RawEntry:
    return b"%d-0" % number, [b"events", b"[]", *fields]


def numbered(sizes: list[int]) -> list[RawEntry]:
    """Return entries of so many events, with the ids 1-0, 2-0 …; ten events came before them."""
    return [entry(index + 1, n, 10 + sum(sizes[: index + 1])) for index, n in enumerate(sizes)]


def edge(found: RawEntry) -> Edge:
    numbers = numbers_of(found[1] or ())
    return Edge(found[0].decode(), *(numbers or (0, 0)))


def holes(promised: list[RawEntry], found: list[RawEntry], published: int = 0, per_page: int = 100) -> list[Hole]:
    course = Course("bounce", edge(promised[0]), edge(promised[-1]), published)
    pages = [found[start : start + per_page] for start in range(0, len(found), per_page)]
    return [*(hole for page in pages for hole in course.follow(page)), *course.end()]


@hypothesis.settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    gone=st.sets(st.integers(0, 29)),
    strangers=st.sets(st.integers(0, 29)),
    per_page=st.integers(1, 12),
)
def test_exactly_the_events_of_numbered_entries_that_are_gone_are_told_whatever_the_pages(
    sizes: list[int], gone: set[int], strangers: set[int], per_page: int
) -> None:
    promised = numbered(sizes)
    left = [each for index, each in enumerate(promised) if index not in gone]
    among = [
        each
        for index, one in enumerate(left)
        for each in ([one, (one[0][:-1] + b"1", [b"events", b"[]"])] if index in strangers else [one])
    ]
    told = holes(promised, among, published=10 + sum(sizes), per_page=per_page)
    assert sum(hole.events or 0 for hole in told) == sum(n for index, n in enumerate(sizes) if index in gone)
    for each in promised:
        is_told = any(id_order(hole.from_id) <= id_order(each[0].decode()) <= id_order(hole.to_id) for hole in told)
        assert is_told == (each not in left)


LARGEST = 18446744073709551615
WHOLE = numbered([2, 1, 3, 1, 2])  # 1-0 … 5-0, numbers 11 … 19


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (WHOLE, []),
        (WHOLE[2:], [Hole("bounce", 3, "1-0", f"2-{LARGEST}")]),
        (WHOLE[:1] + WHOLE[3:], [Hole("bounce", 4, "1-1", f"3-{LARGEST}")]),
        (WHOLE[:3], [Hole("bounce", 3, "3-1", "5-0")]),
        ([], [Hole("bounce", 9, "1-0", "5-0")]),
        ([WHOLE[1], WHOLE[4]], [Hole("bounce", 2, "1-0", f"1-{LARGEST}"), Hole("bounce", 4, "2-1", f"4-{LARGEST}")]),
    ],
)
@pytest.mark.parametrize("per_page", [1, 2, 100])
def test_a_hole_is_told_with_its_events_and_between_which_ids_they_were(
    found: list[RawEntry], expected: list[Hole], per_page: int
) -> None:
    assert holes(WHOLE, found, 19, per_page) == expected


ODD = {
    "without numbers": [WHOLE[0], by_hand(2), *numbered([2, 1])[1:]],
    "a copy of an earlier entry": [WHOLE[0], WHOLE[1], (b"2-7", WHOLE[0][1]), *WHOLE[2:]],
    "more than were published": [WHOLE[0], (b"1-7", [b"events", b"[]", b"n", b"1", b"at", b"99"]), *WHOLE[1:]],
    "more events than numbers": [WHOLE[0], (b"1-7", [b"events", b"[]", b"n", b"9", b"at", b"3"]), *WHOLE[1:]],
    "of a ledger that was lost": [entry(1, 1, 500), entry(2, 1, 501), entry(3, 1, 1), entry(4, 2, 3)],
    "other fields": [WHOLE[0], by_hand(2, b"x", b"3"), by_hand(3), by_hand(4, b"n", b"no"), by_hand(5, b"at", b"1")],
    "foreign at both ends": [by_hand(1), entry(2, 1, 11), by_hand(3)],
}


@pytest.mark.parametrize("found", ODD.values(), ids=ODD)
@pytest.mark.parametrize("per_page", [1, 2, 100])
def test_entries_added_by_hand_and_numbers_that_begin_anew_are_no_holes(found: list[RawEntry], per_page: int) -> None:
    assert holes(found, found, 19, per_page) == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([by_hand(2), entry(3, 1, 11), by_hand(4)], [("1-0", f"1-{LARGEST}")]),
        ([by_hand(1), entry(3, 1, 11)], [("3-1", "4-0")]),
        ([], [("1-0", "4-0")]),
    ],
)
def test_entries_without_numbers_that_are_gone_from_the_ends_are_told_without_a_count(
    found: list[RawEntry], expected: list[tuple[str, str]]
) -> None:
    promised = [by_hand(1), by_hand(2), entry(3, 1, 11), by_hand(4)]
    assert holes(promised, found) == [Hole("bounce", None, *ids) for ids in expected]


def test_a_beginning_that_is_gone_is_told_though_only_entries_by_hand_are_left() -> None:
    promised = [entry(1, 2, 12), by_hand(2), by_hand(3)]
    assert holes(promised, promised[1:]) == [Hole("bounce", None, "1-0", f"1-{LARGEST}")]
