"""The timeline of a message: its attempts by recipient, each with the time since it was queued. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from worker.reading.instants import logged_second
from worker.reading.parse import MISSING
from worker.reading.search import Row

_HOSTS = ("dsnMta", "destIp", "queue")  # the nearest to a name of the host that answered


class Attempt(NamedTuple):
    """What became of a recipient at one time."""

    outcome: str  # the type of the row
    when: str  # as it stands in the file
    since_queued_seconds: int | None
    host: str
    status: str
    message: str
    file: str


class Story(NamedTuple):
    """The attempts for one recipient, the oldest first."""

    rcpt: str
    queued: str  # as it stands in the file
    attempts: Sequence[Attempt]


def stories(rows: Iterable[Row]) -> list[Story]:
    """Return the story of each recipient; `rows` are in order of time.

    Within a second nothing comes after a delivery or a bounce.
    """
    by_recipient: dict[str, list[Row]] = {}
    for row in rows:
        by_recipient.setdefault(row.values.get("rcpt", MISSING), []).append(row)
    return [
        Story(rcpt, first_value(own, ("timeQueued",)), [_attempt(row) for row in sorted(own, key=_order)])
        for rcpt, own in by_recipient.items()
    ]


def _order(row: Row) -> tuple[int, bool]:
    return row.second, row.event_type != "deferred"


def first_value(rows: Iterable[Row], columns: Sequence[str]) -> str:
    """Return the first value that is not missing, by row and then by column."""
    values = (row.values.get(column, MISSING) for row in rows for column in columns)
    return next((value for value in values if value != MISSING), MISSING)


def _attempt(row: Row) -> Attempt:
    return Attempt(
        outcome=row.event_type,
        when=row.values.get("timeLogged", MISSING),
        since_queued_seconds=_since_queued(row),
        host=first_value([row], _HOSTS),
        status=row.values.get("dsnStatus", MISSING),
        message=row.values.get("dsnMsg", MISSING),
        file=row.file,
    )


def _since_queued(row: Row) -> int | None:
    """Return the seconds from queueing to a row; None where the file does not tell."""
    queued = logged_second(row.values.get("timeQueued", MISSING), row.timezone)
    if queued is not None and "timeLogged" in row.values:
        return row.second - queued
    try:
        return int(float(row.values.get("totalSecondsQueued", MISSING)))
    except (ValueError, OverflowError):
        return None
