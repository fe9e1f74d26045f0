"""The line of passed time of a partition, and whether the server's clock goes along with it.

What workers delete on the server goes by times that the server wrote. So they keep a line of passed time there, each
with its machine's own account, in the hash `…:watch`. Trimming keeps it going (`retention`); the others read it.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct

from worker.elapsed import MACHINE, Clocks
from worker.passed_time import PassedTime, Reading, begin, look
from worker.stream.clock import server_ms
from worker.stream.keys import Keys
from worker.stream.link import Link

FIELD = "time"
_LEAP_MS = 3_600_000


class TimeLine(Struct, frozen=True):
    """The line, with the server's clock as its wall clock."""

    line: PassedTime
    steady_since_ms: int = 0  # passed time since which that clock goes along; 0: for as long as anybody knows

    @property
    def now_ms(self) -> int:
        """Return the passed time of the last look."""
        return self.line.passed_ms

    @property
    def ahead_ms(self) -> int:
        """Return by how much the server's clock is ahead of it; below zero: behind."""
        return self.line.wall_ms - self.line.passed_ms

    @property
    def is_right(self) -> bool:
        """Tell whether the server's clock says about the same."""
        return abs(self.ahead_ms) < _LEAP_MS


class Look(NamedTuple):
    """The line as it was and as it is."""

    last: TimeLine | None
    now: TimeLine

    @property
    def leap_ms(self) -> int:
        """Return by how much the server's clock was set since the last look; 0 for less than an hour."""
        leap_ms = self.now.ahead_ms - self.last.ahead_ms if self.last else 0
        return leap_ms if abs(leap_ms) >= _LEAP_MS else 0


_decoder = msgspec.json.Decoder(TimeLine)


def look_now(link: Link, keys: Keys, clocks: Clocks = MACHINE, begin_at_ms: int | None = None) -> Look:
    """Return the line as it goes on to now; nothing is written.

    Where there is none it begins at the server's time, or at an earlier one that is known to have passed.
    """
    stored = link.call("HGET", keys.watch, FIELD)
    reading = Reading(server_ms(link), clocks.account(), round(clocks.elapsed_seconds() * 1000))
    last = _read(stored)
    if last is None:
        return Look(None, TimeLine(begin(reading, begin_at_ms)))
    line = look(last.line, reading)
    found = Look(last, TimeLine(line, last.steady_since_ms))
    return Look(last, TimeLine(line, line.passed_ms)) if found.leap_ms else found


def is_steady(link: Link, keys: Keys, for_ms: int, clocks: Clocks = MACHINE) -> bool:
    """Tell whether the server's clock has gone along for so long: then what it calls so old is so old."""
    now = look_now(link, keys, clocks).now
    return now.now_ms - now.steady_since_ms >= for_ms


def _read(stored: bytes | None) -> TimeLine | None:
    """Read what a look left; None where somebody else wrote there."""
    try:
        return _decoder.decode(stored) if stored else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
