"""Spans: from what people call the ends of a range to the ids of stream entries. Pure: the clock is an argument.

A stream id begins with the server's time when the entry arrived, in milliseconds. So a time names a place in a stream.
An id names an entry, which belongs to the span; a time as the end does not, so that spans by times that follow each
other share nothing.
"""

import re
from datetime import datetime, tzinfo
from typing import NamedTuple

from worker.records import id_order

EXPECTED = (
    "expected a time such as 2026-11-22T10:00 (in the configured time zone), 2026-11-22T10:00:00+01:00 or 2026-11-22, "
    "a time ago such as 90m, 2h or 7d, a stream id such as 1795373309671-0 (one that the range leaves out: "
    "'(1795373309671-0'), or - or + for the ends of the stream"
)

_LARGEST = (1 << 64) - 1
_LATEST_MS = 253_370_764_800_000  # before the year 9999
_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_AGO = re.compile(r"([0-9]{1,9})([smhdw])")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.IGNORECASE,
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Span(NamedTuple):
    """The ids from `start` to `end`, both included."""

    start: str
    end: str

    def holds(self, entry_id: str) -> bool:
        """Tell whether an id is in it."""
        return id_order(self.start) <= id_order(entry_id) <= id_order(self.end)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing can be in it."""
        return id_order(self.start) > id_order(self.end)


def instant_of(entry_id: str, timezone: tzinfo) -> datetime:
    """Return when an entry arrived, by its id; the latest instant that has four digits where it claims a later one."""
    return datetime.fromtimestamp(milliseconds_of(entry_id) / 1000, timezone)


def milliseconds_of(entry_id: str) -> int:
    """Return when an entry arrived, in ms since the epoch, likewise."""
    return min(id_order(entry_id)[0], _LATEST_MS)


def is_id(text: str) -> bool:
    """Tell whether a text is the id of an entry, as Redis writes it."""
    return bool(_ID.fullmatch(text)) and max(id_order(text)) <= _LARGEST


def is_time(text: str) -> bool:
    """Tell whether the end of a span is given as a time, and not as an id or an end of the stream."""
    return text not in {"-", "+"} and not is_id(text.removeprefix("("))


def before(entry_id: str) -> str:
    """Return the id right before one; that of no entry, `0-0`, for the first that there can be."""
    milliseconds, sequence = id_order(entry_id)
    if sequence:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{_LARGEST}" if milliseconds else "0-0"


def after(entry_id: str) -> str:
    """Return the id right behind one; the largest one for the largest one."""
    milliseconds, sequence = id_order(entry_id)
    if sequence < _LARGEST:
        return f"{milliseconds}-{sequence + 1}"
    return f"{milliseconds + 1}-0" if milliseconds < _LARGEST else entry_id


def start_of(text: str, timezone: tzinfo, now: datetime) -> str:
    """Return the first id that a span from here may hold. Raises ValueError that says what was expected."""
    if text.startswith("(") and is_id(text[1:]):
        return after(text[1:])
    return _parse(text, timezone, now)[0]


def end_of(text: str, timezone: tzinfo, now: datetime) -> str:
    """Return the last id that a span to here may hold. Raises ValueError that says what was expected."""
    if text.startswith("(") and is_id(text[1:]):
        return before(text[1:])
    entry_id, is_included = _parse(text, timezone, now)
    return entry_id if is_included else before(entry_id)


def _parse(text: str, timezone: tzinfo, now: datetime) -> tuple[str, bool]:
    """Return an id, and whether it belongs to a span that ends with it."""
    if text == "-":
        return "0-0", True
    if text == "+":
        return f"{_LARGEST}-{_LARGEST}", True
    if is_id(text):
        return "{}-{}".format(*id_order(text)), True
    if found := _AGO.fullmatch(text):
        milliseconds = _milliseconds(now) - int(found[1]) * _SECONDS[found[2]] * 1000
        return f"{max(0, milliseconds)}-0", False
    return f"{_time(text, timezone)}-0", False


def _time(text: str, timezone: tzinfo) -> int:
    """Return a time in ms since the epoch."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r}: {EXPECTED}")
    try:
        instant = datetime.fromisoformat(text.upper())
        milliseconds = _milliseconds(instant if instant.tzinfo else instant.replace(tzinfo=timezone))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r}: {error}; {EXPECTED}") from error
    return max(0, milliseconds)


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
