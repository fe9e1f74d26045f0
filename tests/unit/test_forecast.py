"""When the server's memory is full: tables of measured figures."""

import math

import pytest

from worker.forecast import Memory, Outlook, StreamMemory, forecast

MB = 1_000_000
DAY = 86_400


def memory(used_mb: int, max_mb: int, *streams: StreamMemory) -> Memory:
    return Memory(used_bytes=used_mb * MB, max_bytes=max_mb * MB, streams=streams)


def stream(mb: float, events: int, rate: float) -> StreamMemory:
    return StreamMemory(bytes=int(mb * MB), events=events, events_per_second=rate)


# 100 MB in 100 000 events: 1000 bytes each. At 10 events per second it grows by 10 kB per second, 864 MB a day.
TEN_PER_SECOND = stream(100, 100_000, 10)


@pytest.mark.parametrize(
    ("used_mb", "max_mb", "days", "limit_mb", "blocked", "outlook", "seconds", "steady_mb"),
    [
        pytest.param(200, 0, 7, 1024, False, Outlook.NO_LIMIT, None, 1024, id="no maxmemory"),
        pytest.param(200, 2000, 7, 1024, False, Outlook.NEVER, None, 1024, id="the limit of memory is reached first"),
        pytest.param(200, 1124, 7, 1024, False, Outlook.NEVER, None, 1024, id="what is left is just enough"),
        pytest.param(200, 1123, 7, 1024, False, Outlook.FULL, 92_300, 1024, id="a megabyte too little"),
        pytest.param(200, 1123, 1, 1024, False, Outlook.NEVER, None, 864, id="the retention is reached first"),
        pytest.param(200, 1123, 1, 0, False, Outlook.NEVER, None, 864, id="retention alone"),
        pytest.param(200, 2000, 0, 1024, False, Outlook.NEVER, None, 1024, id="limit of memory alone"),
        pytest.param(200, 2000, 0, 0, False, Outlook.FULL, 180_000, None, id="nothing is ever trimmed"),
        pytest.param(200, 2000, 7, 1024, True, Outlook.FULL, 180_000, None, id="a group blocks the trimming"),
        pytest.param(2000, 2000, 7, 1024, False, Outlook.FULL, 0, 1024, id="full"),
        pytest.param(2100, 2000, 7, 1024, False, Outlook.FULL, 0, 1024, id="more than full"),
    ],
)
def test_the_outlook_follows_from_growth_limits_and_room(
    *, used_mb: int, max_mb: int, days: int, limit_mb: int, blocked: bool,
    outlook: Outlook, seconds: int | None, steady_mb: int | None,
) -> None:  # fmt: skip
    found = forecast(
        memory(used_mb, max_mb, TEN_PER_SECOND), retention_days=days, limit_bytes=limit_mb * MB, is_blocked=blocked
    )
    assert (found.outlook, found.full_in_seconds) == (outlook, seconds)
    assert found.steady_bytes == (None if steady_mb is None else steady_mb * MB)
    assert (found.events_per_second, found.bytes_per_event, found.streams_bytes) == (10, 1000, 100 * MB)


def test_streams_grow_each_by_its_own_size_of_events() -> None:
    streams = (stream(1, 1000, 1), stream(300, 100_000, 2), stream(0, 0, 0))  # 1000 and 6000 bytes per second
    found = forecast(memory(400, 1100, *streams), retention_days=0, limit_bytes=0, is_blocked=False)
    assert found.full_in_seconds == 100_000
    assert math.isclose(found.bytes_per_event, 7000 / 3)


def test_streams_that_do_not_grow_never_fill_anything() -> None:
    still = stream(100, 50_000, 0)
    found = forecast(memory(999, 1000, still), retention_days=0, limit_bytes=0, is_blocked=True)
    assert (found.outlook, found.bytes_per_event) == (Outlook.NEVER, 2000)
    nothing = forecast(memory(1, 1000, stream(0, 0, 0)), retention_days=7, limit_bytes=1, is_blocked=False)
    assert (nothing.outlook, nothing.bytes_per_event, nothing.steady_bytes) == (Outlook.NEVER, 0, 0)


def test_streams_above_their_limit_shrink_to_it() -> None:
    found = forecast(
        memory(990, 1000, stream(500, 500_000, 10)), retention_days=0, limit_bytes=400 * MB, is_blocked=False
    )
    assert found.outlook is Outlook.NEVER
