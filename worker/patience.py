"""Trouble that the loop meets: told once, waited out with growing pauses, and by a stop only for so long.

Nothing here survives a crash. What a trouble calls for is the loop's to decide.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from worker.log import event

_log = logging.getLogger(__name__)

_BACKOFF_SECONDS = (0.1, 10.0)  # the first pause, the longest one
_LONGEST_AT_STOP_SECONDS = 0.5
_MAX_DOUBLINGS = 10

#: So long a stop goes on recovering: enough to register again or for a restart of the server, and far less than what
#: supervisors wait before they kill.
STOP_SECONDS = 5.0


class Pauses(NamedTuple):
    """Time as the loop sees it; tests move it by hand."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    wall: Callable[[], float] = time.time


class Patience:
    """How much trouble there was since the last step that ended well, and how long to go on in spite of it."""

    def __init__(self, pauses: Pauses, is_stopping: Callable[[], bool]) -> None:
        self.pauses = pauses
        self._is_stopping = is_stopping
        self._failures = 0
        self._told = ""
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
            event(_log, "worker.recovered", after=self._failures)
        self._told = ""
        self._failures = 0

    def _tell(self, error: Exception) -> None:
        """Log a trouble once, however often it comes."""
        if str(error) != self._told:
            event(_log, "worker.recovering", logging.WARNING, why=error, kind=type(error).__name__)
        self._told = str(error)

    def _pause(self) -> None:
        """Wait a little, and longer after each failure; a stop ends the pause that it falls into."""
        was_stopping = self._is_stopping()
        first, longest = _BACKOFF_SECONDS
        longest = _LONGEST_AT_STOP_SECONDS if was_stopping else longest
        seconds = min(longest, first * 2 ** min(self._failures, _MAX_DOUBLINGS)) * (0.5 + self.pauses.jitter() / 2)
        end = self.pauses.monotonic() + seconds
        while self._is_stopping() == was_stopping and (left := end - self.pauses.monotonic()) > 0:
            self.pauses.sleep(min(left, 0.2))
