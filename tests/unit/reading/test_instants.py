"""Local times of files are the instants that were written, as far as a local time tells."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from worker.reading.instants import logged_second
from worker.rows import Clock

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp())  # 02:30 local, and again an hour later


@given(st.integers(0, 253_000_000_000))
def test_a_time_in_utc_reads_back(second: int) -> None:
    assert logged_second(Clock(UTC).remember(second), UTC) == second


def test_the_repeated_hour_of_autumn_is_the_first_one_unless_its_file_began_later() -> None:
    text = Clock(BERLIN).remember(AUTUMN)
    assert Clock(BERLIN).remember(AUTUMN + 3600) == text
    assert logged_second(text, BERLIN) == AUTUMN
    assert logged_second(text, BERLIN, earliest=AUTUMN + 1) == AUTUMN + 3600


def test_what_is_no_time_is_none() -> None:
    assert logged_second("-", UTC) is None
