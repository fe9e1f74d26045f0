"""When an open accounting file is rotated. Pure: clocks are arguments, nothing is done here."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from worker.cron import next_instant
from worker.records import FileState
from worker.settings import RotationSettings


class Reason(StrEnum):
    """Why a file was rotated; stands in its manifest."""

    SIZE = "size"
    INTERVAL = "interval"
    CRON = "cron"
    COMMAND = "command"  # somebody asked for it
    START = "start"
    STOP = "stop"
    DISK = "disk"  # a write or fsync of it failed: cut, and never written on
    ORPHAN = "orphan"  # its writer died, another worker of the directory sealed it
    CHANGED = "changed"  # somebody changed it while it was open: never written on
    SHORT = "short"  # rows that were committed in it are gone: sealed with those that are left
    DOUBT = "doubt"  # nobody knows how much of it is committed: sealed as it stands


def rotation_reason(settings: RotationSettings, file: FileState, age_seconds: float, now: datetime) -> Reason | None:
    """Tell why an open file has to be rotated now, or None.

    What is due follows from the file's start, whatever woke the caller: a timer that fires late skips nothing. A file
    without rows is never due, there is nothing to archive; its first row finds it due at once. `age_seconds` is by the
    monotonic clock, `now` by the wall clock, which may have been set since the file was opened.
    """
    if not settings.archiving or not file.rows:
        return None
    if file.length >= settings.max_size_bytes:
        return Reason.SIZE
    if settings.archive_cron is not None:
        return Reason.CRON if _is_cron_due(settings, file, age_seconds, now) else None
    return Reason.INTERVAL if age_seconds >= settings.interval_seconds else None


def _is_cron_due(settings: RotationSettings, file: FileState, age_seconds: float, now: datetime) -> bool:
    """Tell whether an instant of the expression lies after the file's start.

    The start is the earlier one of what the wall clock said then and of what it would say then if it had always been
    as it is now: set forward, the clock passes over no instant; set back, the file does not wait for the old time.
    """
    opened = min(datetime.fromtimestamp(file.opened_ms / 1000, UTC), now - timedelta(seconds=age_seconds))
    due = _first_instant(settings, opened)
    return due is not None and due <= now


@lru_cache(maxsize=16)
def _first_instant(settings: RotationSettings, opened: datetime) -> datetime | None:
    """Return what a busy loop asks for after every batch, and what changes only with the file."""
    return next_instant(settings.archive_cron or "", settings.timezone, opened)
