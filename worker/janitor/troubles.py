"""Troubles of the janitor: told when they begin and when they are over, and given time in between."""

import logging
from collections.abc import Callable

from worker.log import event

_log = logging.getLogger("worker.janitor")

_REST_SECONDS = 3600.0  # until a file that is unfit is looked at again: that can mean reading all of it


class Troubles:
    """What is wrong now, by step and by what it befell: a file, or nothing for disk and store."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rest_until: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._rest_until)

    def begin(self, step: str, what: str, why: object, **facts: object) -> None:
        """Take note of a trouble; it is logged unless it is known."""
        if (step, what) not in self._rest_until:
            event(_log, "janitor.trouble", logging.WARNING, step=step, **facts, why=why)
        self._rest_until[step, what] = self._monotonic() + _REST_SECONDS

    def end(self, step: str, what: str) -> None:
        """Take note that a step went well; that is logged where it did not before."""
        if self._rest_until.pop((step, what), None) is not None:
            event(_log, "janitor.recovered", step=step, file=what or "any")

    def rests(self, step: str, what: str) -> bool:
        """Tell whether it is too soon to try again."""
        return self._monotonic() < self._rest_until.get((step, what), 0.0)
