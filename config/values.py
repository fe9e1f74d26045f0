"""Values of settings that are numbers, switches, choices or time zones: from the text of the ini to the value.

A parser raises ValueError with what was expected; where the text is empty it is never asked.
"""

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import tzlocal

from config.problem import nearest

T = TypeVar("T")
Parser = Callable[[str], T]
E = TypeVar("E", bound=StrEnum)

_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")  # ASCII, no sign, no exponent: what people write
_MEGABYTE = 1_000_000
_LONGEST_ZONE = 255
_MAX_MEGABYTES = 1_000_000_000


def switch(text: str) -> bool:
    """Return whether the setting is on."""
    if text.lower() not in _SWITCH:
        raise ValueError("expected true or false (or yes, no, on, off, 1, 0)")
    return _SWITCH[text.lower()]


def whole(minimum: int, maximum: int, what: str = "a whole number") -> Parser[int]:
    """Return the parser of whole numbers within a range."""

    def parse(text: str) -> int:
        if not (_NUMBER.fullmatch(text) and "." not in text and minimum <= int(text) <= maximum):
            raise ValueError(f"expected {what} from {minimum} to {maximum}")
        return int(text)

    return parse


def seconds(minimum: int, maximum: int) -> Parser[float]:
    """Return the parser of seconds, with fractions, within a range."""

    def parse(text: str) -> float:
        if not (_NUMBER.fullmatch(text) and minimum <= Decimal(text) <= maximum):
            raise ValueError(f"expected a number of seconds from {minimum} to {maximum}")
        return float(text)

    return parse


def megabytes(text: str) -> int:
    """Return bytes from megabytes of 10^6 bytes; fractions are allowed."""
    size = int(Decimal(text) * _MEGABYTE) if _NUMBER.fullmatch(text) else 0
    if not 0 < size <= _MAX_MEGABYTES * _MEGABYTE:
        raise ValueError("expected a number of megabytes above 0, such as 200 or 0.5")
    return size


def one_of(choices: type[E]) -> Parser[E]:
    """Return the parser of a closed set of words."""

    def parse(text: str) -> E:
        if text.lower() not in set(choices):
            raise ValueError(f"expected one of {', '.join(choices)}{nearest(text, choices)}")
        return choices(text.lower())

    return parse


def optional(parser: Parser[T]) -> Parser[T | None]:
    """Return a parser that takes the empty text as None."""
    return lambda text: parser(text) if text else None


def zone(text: str) -> tzinfo:
    """Return the time zone: `local`, `UTC`, or an IANA name."""
    if text.lower() == "utc":
        return UTC
    if text.lower() == "local":
        return _local_zone()
    try:
        return zoneinfo.ZoneInfo(text[:_LONGEST_ZONE])  # a longer one is none, and would end in a RecursionError
    except (KeyError, ValueError, OSError) as error:
        hint = nearest(text, zoneinfo.available_timezones())
        raise ValueError(f"expected local, UTC or an IANA name such as Europe/Berlin{hint}") from error


def _local_zone() -> tzinfo:
    try:
        return tzlocal.get_localzone()
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("the time zone of this system cannot be told: give UTC or an IANA name") from error
