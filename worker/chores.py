"""Chores: what a worker does for its partition once in a while, beside its own files.

Each runs in a thread of its own on a connection of its own. Any worker may do them, several at once too. A chore that
finds the server or the disk away is left for the next time; nothing depends on when it runs.
"""

import logging
from collections.abc import Callable
from functools import partial

import msgspec

from worker.directory import Directory
from worker.elapsed import MACHINE, Clocks
from worker.errors import DiskTrouble, StreamUnavailable
from worker.forecast import forecast
from worker.log import event
from worker.salvage import note_lost_entries
from worker.schedule import FIRST_SECONDS, Job
from worker.settings import StreamSettings
from worker.stream import Connector
from worker.stream.clock import read_clock
from worker.stream.dead_letters import LETTERS_AT_MOST, dead_letters
from worker.stream.losses import Loss, find_losses
from worker.stream.memory import measure
from worker.stream.producers import prune_producers
from worker.stream.retention import Blocked, Limits, trim
from worker.stream.retirement import drop_superseded, retire_silent

_log = logging.getLogger(__name__)

PRUNE_SECONDS = RETIRE_SECONDS = 3600
TRIM_SECONDS = DROP_LETTERS_SECONDS = FIND_LOSSES_SECONDS = FORECAST_SECONDS = COMPARE_CLOCKS_SECONDS = 60
_FIRST_TRIM_SECONDS = 1  # which begins to count the time: before a clock that is set then
SHORT_SECONDS = 6 * 3600  # memory that will be full so soon is told
SILENT_DAYS = 7  # a consumer without pending entries and files is retired then

_UNREAD = "trimmed or deleted by somebody else before any consumer had them: these events have no rows"
_PENDING = (
    "trimmed or deleted by somebody else while a consumer had them and had not committed their rows: each entry counts "
    "as one event, those that it held besides are noted apart"
)
_TOO_MANY = "more dead letters than are kept: the oldest are gone, and counted as dropped"


class Chores:
    """The chores of one partition."""

    def __init__(
        self, connect: Connector, settings: StreamSettings, directory: Directory, clocks: Clocks = MACHINE
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._directory = directory
        self._clocks = clocks
        self._blocked: set[tuple[str, str, str]] = set()  # type, group and why, as last told
        self._is_short = False  # memory, as last told
        self._ahead: set[str] = set()  # types, as last told
        self._every: dict[Callable[[], None], int] = {
            self._prune_producers: PRUNE_SECONDS,
            self._retire_consumers: RETIRE_SECONDS,
            self._trim_streams: TRIM_SECONDS,
            self._drop_letters: DROP_LETTERS_SECONDS,
            self._find_losses: FIND_LOSSES_SECONDS,
            self._forecast_memory: FORECAST_SECONDS,
            self._compare_clocks: COMPARE_CLOCKS_SECONDS,
        }

    def jobs(self) -> list[Job]:
        """Return them for the scheduler, each with its period."""
        first = {self._trim_streams: _FIRST_TRIM_SECONDS}
        return [
            Job(_name(chore), seconds, partial(self._do, chore), first_seconds=first.get(chore, FIRST_SECONDS))
            for chore, seconds in self._every.items()
        ]

    def run(self) -> None:
        """Do each of them now."""
        for chore in self._every:
            self._do(chore)

    def _do(self, chore: Callable[[], None]) -> None:
        """Do one; a server or disk that is away is logged, not raised into the scheduler."""
        try:
            chore()
        except (StreamUnavailable, DiskTrouble, OSError) as error:
            event(_log, "chores.postponed", logging.WARNING, chore=_name(chore), why=error)

    def _prune_producers(self) -> None:
        days = self._settings.producer_days
        if removed := prune_producers(self._connect, self._settings.partition, days, self._clocks):
            event(_log, "producers.pruned", producers=removed, silent_days=days)

    def _retire_consumers(self) -> None:
        if retired := retire_silent(self._connect, self._settings.partition, SILENT_DAYS, self._clocks):
            event(_log, "consumers.retired", consumers=",".join(retired), silent_days=SILENT_DAYS)
        if superseded := drop_superseded(self._connect, self._settings.partition):
            event(_log, "records.superseded", consumers=",".join(superseded))

    def _trim_streams(self) -> None:
        settings = self._settings
        limits = Limits(days=settings.retention_days, bytes=settings.max_bytes)
        trimmed = trim(self._connect, settings.partition, limits, self._clocks)
        if trimmed.entries:
            event(_log, "stream.trimmed", entries=trimmed.entries)
        if trimmed.leap_ms:
            event(
                _log, "server.clock_set", logging.WARNING, seconds=trimmed.leap_ms // 1000,
                next="the time that passed counts; no producer is forgotten and no consumer retired for as long",
            )  # fmt: skip
        self._tell_blocked(trimmed.blocked)

    def _drop_letters(self) -> None:
        """Drop the oldest dead letters where there are too many: nobody else ever would."""
        with dead_letters(self._connect, self._settings.partition, change=True) as letters:
            if dropped := letters.drop_beyond(LETTERS_AT_MOST):
                event(_log, "letters.dropped", logging.ERROR, letters=dropped, kept=LETTERS_AT_MOST, why=_TOO_MANY)

    def _tell_blocked(self, blocked: tuple[Blocked, ...]) -> None:
        """Log each group that holds up trimming once, and once that it does so no longer."""
        now = {(each.type, each.group, each.why): each for each in blocked}
        for key in now.keys() - self._blocked:
            event(_log, "stream.trim_blocked", logging.WARNING, **msgspec.structs.asdict(now[key]))
        for event_type, group, why in sorted(self._blocked - now.keys()):
            event(_log, "stream.trim_unblocked", type=event_type, group=group, why=why)
        self._blocked = set(now)

    def _find_losses(self) -> None:
        for loss in find_losses(self._connect, self._settings.partition, self._note, clocks=self._clocks):
            event(_log, "entries.lost", logging.ERROR, **_facts(loss))

    def _note(self, loss: Loss) -> None:
        self._directory.check()
        why = _UNREAD if loss.entries is None else _PENDING
        note_lost_entries(self._directory.path, loss.name, {**_facts(loss), "why": why})

    def _forecast_memory(self) -> None:
        """Say once that memory will soon be full, and once that it will not."""
        settings = self._settings
        found = forecast(
            measure(self._connect, settings.partition), retention_days=settings.retention_days,
            limit_bytes=settings.max_bytes, is_blocked=bool(self._blocked),
        )  # fmt: skip
        seconds = found.full_in_seconds
        is_short = seconds is not None and seconds < SHORT_SECONDS
        if is_short != self._is_short:
            name, level = ("memory.short", logging.WARNING) if is_short else ("memory.enough", logging.INFO)
            event(
                _log, name, level, full_in_seconds=seconds, used_bytes=found.used_bytes, max_bytes=found.max_bytes,
                events_per_second=found.events_per_second, bytes_per_event=found.bytes_per_event,
            )  # fmt: skip
        self._is_short = is_short

    def _compare_clocks(self) -> None:
        """Say once that the newest ids of a stream are ahead of the server's clock, and once that they are not."""
        found = {ahead.type: ahead for ahead in read_clock(self._connect, self._settings.partition).ahead}
        for event_type in found.keys() - self._ahead:
            ahead = found[event_type]
            event(
                _log, "stream.ids_ahead", logging.WARNING, type=event_type, newest=ahead.id,
                seconds=ahead.ahead_ms // 1000, next="ids do not say when entries arrived until the clock is there",
            )  # fmt: skip
        for event_type in sorted(self._ahead - found.keys()):
            event(_log, "stream.ids_right", type=event_type)
        self._ahead = set(found)


def _facts(loss: Loss) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(loss).items() if value is not None}


def _name(chore: Callable[[], None]) -> str:
    return chore.__name__.strip("_")
