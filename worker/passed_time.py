"""Passed time: a line of time that only goes on while somebody sees time pass. Pure.

Where something may be deleted once it is old enough, no clock is asked that can be set. The line begins where the wall
clock stands at the first look. From one look to the next it goes on by what the machine's own account says has passed,
whatever the wall clock says meanwhile. Where no account reaches back to the last look (the machine was restarted,
another one looks), nobody can tell how long that was: what the wall clock says counts then, up to an hour.

So the line may lag behind by the time in which a machine was off. It is never ahead by more than that hour.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

_UNSEEN_MS = 3_600_000
_MOST_MARKS = 32  # accounts: machines that share a directory, and their last restarts

_Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]


class Reading(NamedTuple):
    """What the clocks of a machine say at one moment."""

    wall_ms: int
    account: str  # whose running time it is (`elapsed.account`)
    running_ms: int


class Mark(Struct, frozen=True):
    """Where an account and the line stood at one moment."""

    running_ms: _Milliseconds
    passed_ms: _Milliseconds


class PassedTime(Struct, frozen=True):
    """The line at its last look."""

    passed_ms: _Milliseconds  # in ms since the epoch, as far as the wall clock was right at the first look
    wall_ms: int
    marks: Mapping[str, Mark]  # by account, the latest last


def begin(reading: Reading, at_ms: int | None = None) -> PassedTime:
    """Begin a line where the wall clock stands, or where an earlier line was seen to be."""
    return _marked({}, max(0, reading.wall_ms) if at_ms is None else at_ms, reading)


def look(last: PassedTime, reading: Reading) -> PassedTime:
    """Return the line as it goes on to a moment."""
    mark = last.marks.get(reading.account)
    if mark and reading.running_ms >= mark.running_ms:
        passed_ms = max(last.passed_ms, mark.passed_ms + reading.running_ms - mark.running_ms)
    else:
        passed_ms = last.passed_ms + min(max(0, reading.wall_ms - last.wall_ms), _UNSEEN_MS)
    return _marked(last.marks, passed_ms, reading)


def trust(last: PassedTime, reading: Reading) -> PassedTime:
    """Return the line as it goes on where somebody says that the wall clock is right."""
    return _marked(last.marks, max(look(last, reading).passed_ms, reading.wall_ms), reading)


def _marked(marks: Mapping[str, Mark], passed_ms: int, reading: Reading) -> PassedTime:
    others = [(name, mark) for name, mark in marks.items() if name != reading.account]
    kept = dict(others[1 - _MOST_MARKS :])
    return PassedTime(
        passed_ms, reading.wall_ms, {**kept, reading.account: Mark(reading.running_ms, passed_ms)}
    )  # fmt: skip
