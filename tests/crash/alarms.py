"""The errors that workers tell in a simulation: while the server forgets nothing, there are none to tell."""

import logging

import pytest


class _Alarms(logging.Handler):
    """Keeps the errors that are told; those of entries that killed their readers are no alarm."""

    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not message.startswith("entry.set_aside"):
            self._told.append(message)


def listen(patch: pytest.MonkeyPatch, told: list[str]) -> None:
    """Hear the workers' errors, and nothing else of what they say; histories are many."""
    log = logging.getLogger("worker")
    patch.setattr(log, "handlers", [_Alarms(told)])
    patch.setattr(log, "propagate", False)
    # Not its level: loggers remember what follows from that, and would be silent in the tests to come.
    patch.setattr(logging.Logger, "isEnabledFor", lambda _, level: level >= logging.ERROR)
