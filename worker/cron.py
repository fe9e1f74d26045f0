"""Cron expressions: the instants at which open files are archived. Pure.

Five fields as in crontab(5): minute, hour, day of the month, month, day of the week, in which 0 and 7 are Sunday.
APScheduler counts Monday as 0, so numbers become names before it sees them. Where both days are restricted, crontab
takes either and APScheduler wants both: such an expression is refused.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from apscheduler.triggers.cron import CronTrigger

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_EXPECTED = "0 to 7 (0 and 7 are Sunday) and sun to sat"
_RANGE = re.compile(r"(\*|[0-7]|[a-z]{3})(?:-([0-7]|[a-z]{3}))?(?:/([1-7]))?")
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def parse(text: str) -> str:
    """Return an expression as `next_instant` takes it. Raises ValueError with what was expected."""
    fields = text.lower().split()
    if len(fields) != len(_FIELDS) or not text.isascii():
        raise ValueError(f"expected five fields: {', '.join(_FIELDS)}, such as 0 0 * * *")
    if fields[2] != "*" and fields[4] != "*":
        raise ValueError("expected * as day of the month or as day of the week: both together are ambiguous")
    for position, name in enumerate(_FIELDS):
        alone = ["0", "0", "1", "1", "*"]  # an expression that comes true whatever the one field says
        try:
            alone[position] = _named_days(fields[4]) if position == 4 else fields[position]
            CronTrigger.from_crontab(" ".join(alone), timezone=UTC)
        except ValueError as error:
            raise ValueError(f"expected another {name} than {fields[position]!r}: {error}") from error
    expression = " ".join([*fields[:4], _named_days(fields[4])])
    if next_instant(expression, UTC, _SOME_DAY) is None:
        raise ValueError(f"{text!r} never comes true: expected a day that there is")
    return expression


def next_instant(expression: str, timezone: tzinfo, after: datetime) -> datetime | None:
    """Return the first instant later than another, in UTC; None where there is none.

    A time that the clock skips in spring comes an hour later by the clock; one that autumn repeats comes twice.
    """
    trigger = _trigger(expression, timezone)
    found: datetime | None = trigger.get_next_fire_time(None, after.astimezone(UTC) + timedelta(microseconds=1))
    return found and found.astimezone(UTC)


@lru_cache(maxsize=8)
def _trigger(expression: str, timezone: tzinfo) -> CronTrigger:
    return CronTrigger.from_crontab(expression, timezone=timezone)


def _named_days(field: str) -> str:
    """Return days of the week as a list of names."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.split(","):
        found = _RANGE.fullmatch(part)
        if not found:
            raise ValueError(f"{part!r} is none of {_DAYS_EXPECTED}")
        first, last, step = found.groups()
        begin = 0 if first == "*" else _day(first)
        end = 6 if first == "*" else _day(last, after=begin) if last else 6 if step else begin
        days |= {day % 7 for day in range(begin, end + 1, int(step or 1))}
    return ",".join(_DAYS[day] for day in sorted(days))


def _day(name: str, after: int = 0) -> int:
    """Return the number of a day; as the end of a range, Sunday is 7."""
    if not name.isdigit() and name not in _DAYS:
        raise ValueError(f"{name!r} is none of {_DAYS_EXPECTED}")
    number = int(name) if name.isdigit() else _DAYS.index(name)
    number = 7 if number == 0 and after else number
    if number < after:
        raise ValueError("a range of days begins before it ends, such as 1-5 or mon-fri")
    return number
