"""Passed time goes on by what machines saw pass, wherever the wall clock is set."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from worker.passed_time import PassedTime, Reading, begin, look, trust

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_795_373_300_000


def at(wall_ms: int, running_ms: int, account: str = "a") -> Reading:
    return Reading(wall_ms, account, running_ms)


@pytest.mark.parametrize("wall_ms", [0, NOW - 40 * DAY, NOW, NOW + 40 * DAY, -(10**12), 2**52])
def test_it_goes_on_by_running_time_wherever_the_wall_clock_is_set(wall_ms: int) -> None:
    time = look(begin(at(NOW, 100)), at(wall_ms, 100 + HOUR))
    assert time.passed_ms == NOW + HOUR


@pytest.mark.parametrize(
    ("wall_ms", "counts"),
    [
        pytest.param(NOW + 60_000, 60_000, id="a quick restart"),
        pytest.param(NOW + 40 * DAY, HOUR, id="off for 40 days, or the clock is ahead"),
        pytest.param(NOW - 40 * DAY, 0, id="the clock was set back"),
    ],
)
def test_after_a_restart_of_the_machine_the_wall_clock_counts_up_to_an_hour(wall_ms: int, counts: int) -> None:
    for reading in (at(wall_ms, 5, "another start"), at(wall_ms, 99, "a")):  # or an account that began anew
        assert look(begin(at(NOW, 100)), reading).passed_ms == NOW + counts


def test_what_one_machine_saw_does_not_count_again_on_another_one() -> None:
    time = begin(at(NOW, 0, "a"))
    time = look(time, at(NOW, 0, "b"))
    for minute in range(1, 61):
        account = "ab"[minute % 2]
        time = look(time, at(NOW + minute * 60_000, minute * 60_000, account))
        assert time.passed_ms == NOW + minute * 60_000


def test_where_somebody_says_that_the_clock_is_right_it_counts() -> None:
    time = look(begin(at(NOW, 100)), at(NOW + 40 * DAY, 5, "another start"))
    time = trust(time, at(NOW + 40 * DAY, 5, "another start"))
    assert time.passed_ms == NOW + 40 * DAY
    assert trust(time, at(NOW, 5, "another start")).passed_ms == NOW + 40 * DAY  # never back


_steps = st.lists(
    st.tuples(st.integers(0, 10 * DAY), st.integers(-(10**15), 10**15), st.sampled_from("abc")), max_size=30
)


@hypothesis(derandomize=True, database=None, deadline=None, max_examples=200)
@given(steps=_steps)
def test_it_never_goes_back_nor_ahead_of_what_passed_but_for_an_hour_per_new_account(
    steps: list[tuple[int, int, str]],
) -> None:
    time, really = begin(at(NOW, 0)), 0
    for passes, wall_ms, account in steps:
        really += passes
        after = look(time, at(wall_ms, really, account))
        assert time.passed_ms <= after.passed_ms <= NOW + really + 3 * HOUR
        time = msgspec.json.decode(msgspec.json.encode(after), type=PassedTime)


def test_the_accounts_of_the_last_machines_are_kept_and_no_more() -> None:
    time = begin(at(NOW, 0))
    for number in range(100):
        time = look(time, at(NOW, number, f"start {number}"))
    assert list(time.marks) == [f"start {number}" for number in range(68, 100)]
