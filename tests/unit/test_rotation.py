"""When a file is rotated: by size, by interval, and never without rows or without archiving."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.records import FileState
from worker.rotation import Reason, rotation_reason
from worker.settings import RotationSettings

NOON = datetime(2026, 9, 28, 12, tzinfo=UTC)
SETTINGS = RotationSettings(archiving=True, interval_seconds=3600, max_size_bytes=1000)
CRON = RotationSettings(archiving=True, interval_seconds=3600, max_size_bytes=1000, archive_cron="0 0 * * *")


def file(length: int, rows: int = 1, opened: datetime = NOON) -> FileState:
    opened_ms = int(opened.timestamp() * 1000)
    return FileState(name="b.2026-09-28-120000.tsv", inode=7, length=length, rows=rows, opened_ms=opened_ms)


@pytest.mark.parametrize(
    ("length", "age_seconds", "reason"),
    [
        (999, 0, None),
        (1000, 0, Reason.SIZE),
        (1001, 0, Reason.SIZE),
        (10, 3599.999, None),
        (10, 3600, Reason.INTERVAL),
        (10, 1e9, Reason.INTERVAL),
        (10, -5, None),
        (1000, 3600, Reason.SIZE),
    ],
)
def test_file_is_rotated_at_its_size_or_at_its_age(length: int, age_seconds: float, reason: Reason | None) -> None:
    assert rotation_reason(SETTINGS, file(length), age_seconds, NOON) is reason


def test_file_without_rows_is_never_rotated() -> None:
    assert rotation_reason(SETTINGS, file(10_000, rows=0), 1e9, NOON) is None
    assert rotation_reason(CRON, file(10_000, rows=0), 1e9, NOON) is None


def test_file_is_never_rotated_without_archiving() -> None:
    settings = RotationSettings(archiving=False, interval_seconds=1, max_size_bytes=1)
    assert rotation_reason(settings, file(10_000), 1e9, NOON) is None


MIDNIGHT = NOON + timedelta(hours=12)
DAY = 86_400


@pytest.mark.parametrize(
    ("opened", "now", "age_seconds", "reason"),
    [
        pytest.param(NOON, MIDNIGHT - timedelta(seconds=1), DAY / 2 - 1, None, id="before it"),
        pytest.param(NOON, MIDNIGHT, DAY / 2, Reason.CRON, id="at it"),
        pytest.param(NOON, MIDNIGHT + timedelta(days=9), 9.5 * DAY, Reason.CRON, id="after a long stall"),
        pytest.param(MIDNIGHT, MIDNIGHT, 0, None, id="opened at it"),
        pytest.param(MIDNIGHT, MIDNIGHT + timedelta(days=1), DAY, Reason.CRON, id="at the next one"),
        pytest.param(NOON, MIDNIGHT, 5, Reason.CRON, id="the clock was set forward over it, or the machine slept"),
        pytest.param(MIDNIGHT, MIDNIGHT - timedelta(hours=1), 60, None, id="the clock was set back behind it"),
        pytest.param(MIDNIGHT, MIDNIGHT, 3600, Reason.CRON, id="after that it comes again"),
        pytest.param(NOON.replace(year=2036), MIDNIGHT, DAY / 2, Reason.CRON, id="the clock was years ahead"),
    ],
)
def test_file_is_rotated_once_an_instant_of_the_expression_has_passed_since_its_start(
    opened: datetime, now: datetime, age_seconds: float, reason: Reason | None
) -> None:
    state = FileState(name="b.1", inode=7, length=10, rows=1, opened_ms=int(opened.timestamp() * 1000))
    assert rotation_reason(CRON, state, age_seconds, now) is reason


def test_with_an_expression_the_interval_does_not_count_and_the_size_does() -> None:
    assert rotation_reason(CRON, file(10, opened=NOON), 7200, NOON + timedelta(hours=2)) is None
    assert rotation_reason(CRON, file(1000, opened=NOON), 0, NOON) is Reason.SIZE


def test_reasons_are_written_as_their_words() -> None:
    assert [str(reason) for reason in Reason] == [
        "size", "interval", "cron", "command", "start", "stop", "disk", "orphan", "changed", "short", "doubt",
    ]  # fmt: skip
