"""Trouble that the loop meets: told, waited out with growing pauses, and by a stop only for so long.

Each cause is told once in an outage, however often causes take turns, and an outage that lasts is told again now and
then: a log that says nothing for hours looks like one of a worker that is well.

Nothing here survives a crash. What a trouble calls for is the loop's to decide.
"""

import logging
import random
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from worker.log import event

_log = logging.getLogger(__name__)

_BACKOFF_SECONDS = (0.1, 10.0)  # the first pause, the longest one
_LONGEST_AT_STOP_SECONDS = 0.5
_MAX_DOUBLINGS = 10
_REMIND_SECONDS = 300.0
_MOST_CAUSES = 20  # told one by one in an outage; the others only where it is told again
_NUMBER = re.compile(r"\d+")  # the same cause with another one, such as of the bytes that are free, is not another

#: So long a stop goes on recovering: enough to register again or for a restart of the server, and far less than what
#: supervisors wait before they kill.
STOP_SECONDS = 5.0


def _running_seconds() -> float:
    """Return the seconds since the machine started: files grow old while it is suspended, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Pauses(NamedTuple):
    """Time as the loop sees it; tests move it by hand."""

    monotonic: Callable[[], float] = _running_seconds
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    wall: Callable[[], float] = time.time


class Patience:
    """How much trouble there was since the last step that ended well, and how long to go on in spite of it."""

    def __init__(self, pauses: Pauses, is_stopping: Callable[[], bool]) -> None:
        self.pauses = pauses
        self._is_stopping = is_stopping
        self._failures = 0
        self._told: set[str] = set()  # causes of this outage
        self._since = self._told_at = 0.0  # monotonic; when it began, and was last told at length
        self._give_up_at: float | None = None  # known once there is trouble while stopping

    def wait_out(self, error: Exception) -> bool:
        """Tell a trouble and pause; False where the loop is to stop and has been in trouble for long enough."""
        self._tell(error)
        self._pause()
        self._failures += 1
        if not self._is_stopping():
            return True
        now = self.pauses.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + STOP_SECONDS
        return now < self._give_up_at

    def went_well(self) -> None:
        """Forget the trouble that there was: only a step that ends well shows that it is over."""
        if self._told:
            event(_log, "worker.recovered", after=self._failures, seconds=self._seconds())
        self._told.clear()
        self._failures = 0

    def _tell(self, error: Exception) -> None:
        """Log each cause of an outage once, and what is wrong now every few minutes."""
        now, cause = self.pauses.monotonic(), _NUMBER.sub("#", str(error))
        facts = {"why": error, "kind": type(error).__name__}
        if not self._told:
            self._since = self._told_at = now
        if cause not in self._told and len(self._told) < _MOST_CAUSES:
            self._told.add(cause)
            event(_log, "worker.recovering", logging.WARNING, **facts)
        elif now >= self._told_at + _REMIND_SECONDS:
            self._told_at = now
            event(_log, "worker.recovering", logging.WARNING, **facts, after=self._failures, seconds=self._seconds())

    def _seconds(self) -> int:
        """Return how long the outage has lasted."""
        return round(self.pauses.monotonic() - self._since)

    def _pause(self) -> None:
        """Wait a little, and longer after each failure; a stop ends the pause that it falls into."""
        was_stopping = self._is_stopping()
        first, longest = _BACKOFF_SECONDS
        longest = _LONGEST_AT_STOP_SECONDS if was_stopping else longest
        seconds = min(longest, first * 2 ** min(self._failures, _MAX_DOUBLINGS)) * (0.5 + self.pauses.jitter() / 2)
        end = self.pauses.monotonic() + seconds
        while self._is_stopping() == was_stopping and (left := end - self.pauses.monotonic()) > 0:
            self.pauses.sleep(min(left, 0.2))
