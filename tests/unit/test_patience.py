"""Outages as the log shows them: every cause once, and never silence for long."""

import logging
from itertools import cycle, islice

import pytest

from tests.support.workers import HandClock
from worker.errors import DiskTrouble, StreamUnavailable
from worker.patience import Patience

REFUSED = StreamUnavailable("ConnectionError: Connection refused")
FULL = DiskTrouble("/var/spool: No space left on device")


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> HandClock:
    caplog.set_level(logging.INFO)
    return HandClock()


@pytest.fixture
def patience(clock: HandClock) -> Patience:
    def sleep(seconds: float) -> None:
        clock.now += seconds

    return Patience(clock.pauses()._replace(sleep=sleep), lambda: False)


def test_an_outage_is_told_at_once_and_then_every_five_minutes_with_how_long_it_lasts(
    patience: Patience, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    begin = clock.now
    while clock.now < begin + 1_000:
        assert patience.wait_out(REFUSED)
    first, *again = caplog.messages
    assert first.startswith("worker.recovering why=")
    assert "seconds" not in first
    assert [int(line.rpartition("seconds=")[2]) // 300 for line in again] == [1, 2, 3]
    assert all("Connection refused" in line for line in again)


def test_causes_that_take_turns_are_told_once_each(patience: Patience, caplog: pytest.LogCaptureFixture) -> None:
    for error in islice(cycle((REFUSED, FULL)), 20):
        patience.wait_out(error)
    assert len(caplog.messages) == 2


def test_a_cause_whose_numbers_change_is_told_once(patience: Patience, caplog: pytest.LogCaptureFixture) -> None:
    for free in range(20):
        patience.wait_out(DiskTrouble(f"/var/spool: {free} MB free, expected at least 100"))
    assert len(caplog.messages) == 1


def test_any_number_of_causes_fills_neither_log_nor_memory(
    patience: Patience, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    for length in range(100):
        patience.wait_out(DiskTrouble("x" * length))
    assert len(caplog.messages) <= 20 + clock.now // 300
    assert len(patience._told) <= 20


def test_the_same_cause_is_told_again_in_the_next_outage(
    patience: Patience, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        patience.wait_out(REFUSED)
        clock.now += 5
        patience.went_well()
        patience.went_well()
    events = [line.split()[0] for line in caplog.messages]
    assert events == ["worker.recovering", "worker.recovered"] * 2
    assert caplog.messages[1] == "worker.recovered after=1 seconds=5"
