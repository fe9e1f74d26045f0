"""The line of passed time of a directory, in `<path>/.passed-time`.

Lost, it is taken up where the latest sighting of a file was: earlier than now, so that no file is taken for older than
it is.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from worker import regular
from worker.durable import write_durably
from worker.janitor.sightings import Sightings
from worker.log import event
from worker.passed_time import PassedTime, Reading, begin, look, trust

_log = logging.getLogger("worker.janitor")

_NAME = ".passed-time"
_DAY_MS = 86_400_000

_decoder = msgspec.json.Decoder(PassedTime)


class Line:
    """Only the directory's janitor uses it, under its lock."""

    def __init__(self, path: Path) -> None:
        self._path = path / _NAME
        self._last: PassedTime | None = None  # where it was not written down, or cannot be read any more

    def look(self, reading: Reading, sightings: Iterable[Sightings], *, trusted: bool = False) -> int:
        """Let the line go on to now and return where it is, in ms. Raises OSError.

        With `trusted` it goes on to where the wall clock stands: somebody says that this is right.
        """
        last = self._load() or self._last
        if last is None:
            at_ms = max((latest for each in sightings if (latest := each.latest()) is not None), default=None)
            self._last = begin(reading, at_ms)
        else:
            self._last = (trust if trusted else look)(last, reading)
            _tell_leap(last, self._last)
        return self._last.passed_ms

    def note(self) -> None:
        """Write it down. Raises OSError."""
        if self._last:
            write_durably(self._path, msgspec.json.encode(self._last) + b"\n")

    def _load(self) -> PassedTime | None:
        try:
            return _decoder.decode(regular.content(self._path))
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            next_ = "days are counted on from the last sighting"
            event(_log, "time.unreadable", logging.WARNING, file=self._path, why=error, next=next_)
            return None


def _tell_leap(last: PassedTime, now: PassedTime) -> None:
    """Say that the wall clock went on by days that nobody saw pass: it was set, or the machine was off."""
    ahead_ms = now.wall_ms - now.passed_ms
    unseen_ms = min(ahead_ms, ahead_ms - (last.wall_ms - last.passed_ms))
    if unseen_ms >= _DAY_MS:
        event(
            _log, "time.unseen", logging.WARNING, days=round(unseen_ms / _DAY_MS),
            next="they do not count for keep_days; where the machine was off and the clock is right, "
            "haraka-accounting tidy --trust-clock lets them count",
        )  # fmt: skip
