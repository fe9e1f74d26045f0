"""Attempts: the steps of a run, each at one file, of which some fail.

A file that fails does not hold up the others; a disk or store that fails is left alone until the next run.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from worker.errors import DiskTrouble
from worker.janitor.held import Busy, Unfit
from worker.janitor.store import StoreTrouble
from worker.janitor.troubles import Troubles
from worker.schedule import Step

T = TypeVar("T")


class Attempts:
    """What is tried, what is wrong, and what is tried right now."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._resting: set[str] = set()  # steps that met a disk or store that fails, until the next run
        self.step: Step | None = None  # of a run that is under way; read by other threads
        self.stopping = False  # asked for, maybe by another thread: nothing is begun any more
        self.troubles = Troubles(monotonic)

    def begin(self) -> None:
        """Begin a run."""
        self._resting.clear()
        self._is_at("start")

    def end(self) -> None:
        """End it."""
        self.step = None

    def make(self, step: str, path: Path, work: Callable[[], T]) -> T | None:
        """Do one step for one file; None where it has to be done another time."""
        what = str(path)
        if self.stopping or step in self._resting or self.troubles.rests(step, what):
            return None
        self._is_at(f"{step} {what}")
        try:
            result = work()
        except Busy:
            return None
        except (Unfit, OSError, DiskTrouble, StoreTrouble) as error:
            if _is_general(error):
                self._resting.add(step)
                self.troubles.begin(step, "", error, file=path)
            else:
                self.troubles.begin(step, what, error, file=path)
            return None
        self.troubles.end(step, "")
        self.troubles.end(step, what)
        return result

    def _is_at(self, what: str) -> None:
        self.step = Step(what, self._monotonic())


def _is_general(error: Exception) -> bool:
    """Tell whether other files would meet the same trouble now."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
    return not isinstance(error, Unfit)
