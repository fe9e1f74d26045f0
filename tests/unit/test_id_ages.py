"""Which ids are old enough, by the newest ids that were seen when: whatever the server's clock made of ids."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from worker.records import id_order
from worker.stream.id_ages import NOTHING, IdAges, Note, first_younger, noted

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = 1_795_373_300_000
WEEK = 7 * DAY


def test_before_the_first_note_ids_are_as_old_as_they_say_and_no_further_than_that_note() -> None:
    ages = noted(NOTHING, f"{NOW - HOUR}-3", NOW, WEEK)
    assert first_younger(ages, NOW, WEEK) == f"{NOW - WEEK}-0"
    assert first_younger(ages, NOW + WEEK - 2 * HOUR, WEEK) == f"{NOW - 2 * HOUR}-0"
    assert first_younger(ages, NOW + WEEK - HOUR + 1, WEEK) == f"{NOW - HOUR}-4"


def test_an_id_that_is_40_days_ahead_is_old_once_a_week_has_passed_and_not_47_days() -> None:
    ages = noted(NOTHING, f"{NOW - 1}-0", NOW, WEEK)
    ahead = f"{NOW + 40 * DAY}-7"
    ages = noted(ages, ahead, NOW + HOUR, WEEK)
    assert first_younger(ages, NOW + WEEK, WEEK) == f"{NOW - 1}-1"
    assert first_younger(ages, NOW + HOUR + WEEK, WEEK) == f"{NOW + 40 * DAY}-8"


def test_without_a_note_nothing_is_old() -> None:
    assert first_younger(NOTHING, NOW, WEEK) == "0-0"


def test_a_stream_that_was_made_anew_begins_anew() -> None:
    ages = noted(NOTHING, f"{NOW + 40 * DAY}-7", NOW, WEEK)
    ages = noted(ages, f"{NOW}-0", NOW + MINUTE, WEEK)
    assert ages == IdAges([Note(NOW + MINUTE, "0-0"), Note(NOW + MINUTE, f"{NOW}-0")])
    assert first_younger(ages, NOW + WEEK, WEEK) == "0-1"
    assert first_younger(ages, NOW + MINUTE + WEEK, WEEK) == f"{NOW}-1"


def test_ids_that_a_wrong_clock_gave_are_as_young_as_the_first_look() -> None:
    ages = noted(NOTHING, f"{NOW - 50 * DAY}-0", NOW, WEEK, believed=False)
    assert first_younger(ages, NOW, WEEK) == "0-1"
    assert first_younger(ages, NOW + WEEK, WEEK) == f"{NOW - 50 * DAY}-1"


def test_the_largest_id_can_be_noted() -> None:
    ages = noted(NOTHING, f"5-{2**64 - 1}", NOW, WEEK)
    assert first_younger(ages, NOW + WEEK, WEEK) == f"5-{2**64 - 1}"


@pytest.mark.parametrize("days", [1, 7, 3650])
def test_there_are_few_notes_however_long_the_retention(days: int) -> None:
    ages, now = NOTHING, NOW
    for _ in range(2000):
        ages = noted(ages, f"{now}-0", now, days * DAY)
        now += max(HOUR, days * DAY // 200)
    assert len(ages.notes) <= 203
    kept_ms = now - id_order(first_younger(ages, now, days * DAY))[0]
    assert days * DAY <= kept_ms <= days * DAY + 2 * max(HOUR, days * DAY // 200)


@hypothesis(derandomize=True, database=None, deadline=None, max_examples=200)
@given(steps=st.lists(st.tuples(st.integers(1, 3 * DAY), st.integers(-50 * DAY, 50 * DAY)), min_size=1, max_size=60))
def test_no_entry_is_called_old_before_it_was_there_for_as_long(steps: list[tuple[int, int]]) -> None:
    """Each step: time passes, the clock is somewhere, an entry arrives, a look is had."""
    ages = noted(NOTHING, f"{NOW}-0", NOW, WEEK)
    passed, newest, arrived = NOW, (NOW, 0), dict[tuple[int, int], int]()
    for passes, clock_is_ahead in steps:
        passed += passes
        clock = passed + clock_is_ahead
        newest = (clock, 0) if clock > newest[0] else (newest[0], newest[1] + 1)
        arrived[newest] = passed
        ages = noted(ages, "{}-{}".format(*newest), passed, WEEK)
        below = id_order(first_younger(ages, passed, WEEK))
        assert all(passed - at >= WEEK for entry_id, at in arrived.items() if entry_id < below)
