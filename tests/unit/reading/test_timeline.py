"""The timeline of a message tells each recipient's attempts in order, with the time since it was queued."""

from datetime import UTC
from typing import Any

from worker.reading.search import Row
from worker.reading.timeline import stories


def row(event_type: str, second: int, **values: Any) -> Row:
    return Row(event_type, "file", second, {"rcpt": "a@example.com", "timeLogged": "then", **values}, UTC)


def test_attempts_stand_by_recipient_with_the_time_since_queueing() -> None:
    queued = "1970-01-01 00:16:40"  # second 1000
    rows = [
        row("deferred", 1009, timeQueued=queued, dsnStatus="4.2.1", dsnMta="-", destIp="192.0.2.1"),
        row("delivered", 1010, timeQueued=queued, rcpt="b@example.com"),
        row("bounce", 1300, timeQueued=queued, dsnMta="mx.example.com"),
    ]
    first, second = stories(rows)
    assert (first.rcpt, second.rcpt) == ("a@example.com", "b@example.com")
    assert [(each.outcome, each.since_queued_seconds, each.host) for each in first.attempts] == [
        ("deferred", 9, "192.0.2.1"), ("bounce", 300, "mx.example.com")
    ]  # fmt: skip
    assert first.queued == queued


def test_within_a_second_the_end_comes_last() -> None:
    [story] = stories([row("delivered", 5), row("deferred", 5), row("bounce", 5)])
    assert [attempt.outcome for attempt in story.attempts] == ["deferred", "delivered", "bounce"]


def test_where_the_file_has_no_time_of_queueing_the_seconds_in_the_queue_tell() -> None:
    rows = [row("delivered", 5, totalSecondsQueued="61.250"), row("delivered", 6), row("delivered", 7, timeQueued="-")]
    [story] = stories(rows)
    assert [attempt.since_queued_seconds for attempt in story.attempts] == [61, None, None]
