"""When a file is rotated: by size, by interval, and never without rows or without archiving."""

import pytest

from worker.records import FileState
from worker.rotation import Reason, rotation_reason
from worker.settings import RotationSettings

SETTINGS = RotationSettings(archiving=True, interval_seconds=3600, max_size_bytes=1000)


def file(length: int, rows: int = 1) -> FileState:
    return FileState(name="b.2026-09-28-120000.tsv", inode=7, length=length, rows=rows, opened_ms=0)


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
    assert rotation_reason(SETTINGS, file(length), age_seconds) is reason


def test_file_without_rows_is_never_rotated() -> None:
    assert rotation_reason(SETTINGS, file(10_000, rows=0), 1e9) is None


def test_file_is_never_rotated_without_archiving() -> None:
    settings = RotationSettings(archiving=False, interval_seconds=1, max_size_bytes=1)
    assert rotation_reason(settings, file(10_000), 1e9) is None


def test_reasons_are_written_as_their_words() -> None:
    assert [str(reason) for reason in Reason] == ["size", "interval", "start", "stop", "orphan"]
