"""When an open accounting file is rotated. Pure: clocks are arguments, nothing is done here."""

from enum import StrEnum

from worker.records import FileState
from worker.settings import RotationSettings


class Reason(StrEnum):
    """Why a file was rotated; stands in its manifest."""

    SIZE = "size"
    INTERVAL = "interval"
    START = "start"
    STOP = "stop"
    ORPHAN = "orphan"  # its writer died, another worker of the directory sealed it


def rotation_reason(settings: RotationSettings, file: FileState, age_seconds: float) -> Reason | None:
    """Tell why an open file has to be rotated now, or None.

    The age is measured from the file's start, whatever woke the caller: a timer that fires late skips nothing. A file
    without rows is never due, there is nothing to archive; its first row finds it due at once.
    """
    if not settings.archiving or not file.rows:
        return None
    if file.length >= settings.max_size_bytes:
        return Reason.SIZE
    if age_seconds >= settings.interval_seconds:
        return Reason.INTERVAL
    return None
