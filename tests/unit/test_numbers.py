"""An entry's own numbers: which of them are believed, and which entries count as foreign."""

import pytest

from tests.support.events import encode, make_event
from tests.unit.events import row_settings
from worker.batch import Part, TypeRenderer
from worker.numbers import Numbers, events_in, numbers_of

ENTRY = tuple[bytes, list[bytes]]


def entry(number: int, n: int, at: int, events: int | None = None, *, payload: bytes | None = None) -> ENTRY:
    """Return an entry as the publish script adds it, with so many events in it as `n` says, or others."""
    made = encode([make_event("bounce", at * 100 + index) for index in range(n if events is None else events)])
    fields = [b"events", made if payload is None else payload, b"n", b"%d" % n, b"at", b"%d" % at]
    return b"%d-0" % number, fields


def by_hand(number: int, *fields: bytes, events: int = 1) -> ENTRY:
    made = encode([make_event("bounce", 10_000 + number + index) for index in range(events)])
    return b"%d-0" % number, [b"events", made, *fields]


def part(*entries: ENTRY) -> Part:
    return TypeRenderer("bounce", row_settings()).part(entries)


@pytest.mark.parametrize(
    ("fields", "numbers", "events"),
    [
        ((b"n", b"3", b"at", b"17"), Numbers(3, 17), 3),
        ((b"at", b"17", b"n", b"3"), Numbers(3, 17), 3),
        ((b"n", b"3"), None, 3),
        ((b"at", b"17"), None, 1),
        ((), None, 1),
        ((b"n", b"0", b"at", b"17"), None, 1),
        ((b"n", b"", b"at", b"17"), None, 1),
        ((b"n", b"-3", b"at", b"17"), None, 1),
        ((b"n", b"3.5", b"at", b"17"), None, 1),
        ((b"n", b"1e3", b"at", b"17"), None, 1),
        ((b"n", b"\xd9\xa3", b"at", b"17"), None, 1),  # a digit of another script
        ((b"n", b"1" * 9, b"at", b"1" * 15), Numbers(111_111_111, 111_111_111_111_111), 111_111_111),
        ((b"n", b"1" * 10, b"at", b"17"), None, 1),
        ((b"n", b"9" * 5_000, b"at", b"17"), None, 1),
        ((b"n", b"3", b"at", b"1" * 16), None, 3),
        ((b"n", b"3", b"n", b"4", b"at", b"17"), Numbers(3, 17), 3),
        ((b"n",), None, 1),
    ],
)
def test_numbers_are_believed_where_an_entry_can_have_them(
    fields: tuple[bytes, ...], numbers: Numbers | None, events: int
) -> None:
    assert numbers_of((b"events", b"[]", *fields)) == numbers
    assert events_in((b"events", b"[]", *fields)) == events


def test_published_entries_hold_nothing_foreign_whether_they_follow_each_other_or_not() -> None:
    assert part(entry(1, 1, 1), entry(2, 3, 4), entry(3, 2, 6)).foreign == 0
    assert part(entry(1, 1, 1), entry(3, 2, 60)).foreign == 0
    assert part(entry(1, 4, 4, events=3)).foreign == 0
    assert part(entry(1, 2, 2, payload=b"no array")).foreign == 0


@pytest.mark.parametrize("stranger", [by_hand(5), by_hand(5, b"n", b"1"), by_hand(5, b"at", b"7", b"x", b"y")])
def test_events_of_an_entry_without_numbers_are_foreign_wherever_it_stands(stranger: ENTRY) -> None:
    published = [entry(1, 1, 1), entry(2, 3, 4), entry(3, 2, 6)]
    for position in range(4):
        made = part(*published[:position], stranger, *published[position:])
        assert (made.foreign, made.event_count) == (1, 7)


def test_foreign_events_are_counted_whether_they_are_good_or_dead() -> None:
    bad = b"5-0", [b"events", b'[{"type":"b"},' + encode([make_event("bounce", 1)])[1:]]
    made = part(entry(1, 1, 1), bad, (b"6-0", [b"other", b"x"]))
    assert (made.event_count, made.dead_count, made.foreign) == (2, 2, 3)


def test_foreign_events_of_all_slices_are_counted() -> None:
    made = part(*(entry(number, 1, number) for number in range(1, 400)), *(by_hand(400 + each) for each in range(300)))
    assert (made.foreign, made.event_count) == (300, 699)


@pytest.mark.parametrize("n", [1, 2, 60])
def test_an_entry_that_is_no_array_is_one_letter_of_as_many_events_as_were_published(n: int) -> None:
    made = part(entry(1, n, n, payload=b"{"), entry(2, 1, n + 1))
    assert [(letter.position, letter.n) for letter in made.dead] == [(-1, n)]
    assert (made.dead_count, made.event_count, made.foreign) == (n, 1, 0)


def test_a_bad_event_is_one_letter_of_one_event() -> None:
    good = encode([make_event("bounce", 1)])[1:-1]
    made = part(entry(1, 3, 3, payload=b"[" + good + b',{},"x"]'))
    assert [letter.n for letter in made.dead] == [1, 1]
    assert (made.dead_count, made.event_count, made.foreign) == (2, 1, 0)
