"""Chores: what a worker does for its partition once in a while, beside its own files.

They run in the scheduler's thread on a connection of their own, one after the other. Any worker may do them, several
at once too. A chore that finds the server away is left for the next hour; nothing depends on when it runs.
"""

import logging

from worker.errors import StreamUnavailable
from worker.log import event
from worker.settings import StreamSettings
from worker.stream import Connector
from worker.stream.producers import prune_producers
from worker.stream.retirement import retire_silent

_log = logging.getLogger(__name__)

EVERY_SECONDS = 3600
SILENT_DAYS = 7  # a consumer without pending entries and files is retired then


class Chores:
    """The chores of one partition."""

    def __init__(self, connect: Connector, settings: StreamSettings) -> None:
        self._connect = connect
        self._settings = settings

    def run(self) -> None:
        """Do each of them; a server that is away is logged, not raised into the scheduler."""
        for chore in (self._prune_producers, self._retire_consumers):
            try:
                chore()
            except StreamUnavailable as error:
                event(_log, "chores.postponed", logging.WARNING, chore=chore.__name__.strip("_"), why=error)

    def _prune_producers(self) -> None:
        days = self._settings.producer_days
        if removed := prune_producers(self._connect, self._settings.partition, days):
            event(_log, "producers.pruned", producers=removed, silent_days=days)

    def _retire_consumers(self) -> None:
        if retired := retire_silent(self._connect, self._settings.partition, SILENT_DAYS):
            event(_log, "consumers.retired", consumers=",".join(retired), silent_days=SILENT_DAYS)
