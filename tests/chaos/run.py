"""One run, from the first process to the last comparison."""

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import redis

from tests.chaos.actions import PUBLISHERS, Chaos, Kind, plan
from tests.chaos.audits import Audits
from tests.chaos.compare import Found, compare
from tests.chaos.fleet import PARTITION, Fleet, State
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.publishers import Producer, Published, Schedule
from tests.support.servers import wait_until
from worker.stream.keys import GROUP, Keys

PATIENCE_SECONDS: Final = 120.0
_PRODUCERS: Final = 3
_SAMPLE_SECONDS: Final = 0.5
_CUTS: Final = (Fault.CUT, Fault.HALF_REQUEST, Fault.HALF_REPLY, Fault.LOSE_REPLY)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How long, how much, how many; the seed decides the rest."""

    seed: int
    seconds: float  # of chaos; draining and comparing come on top
    events: int
    workers: int
    actions: int
    deeds: int = 0  # of operators


class Report(msgspec.Struct):
    """The figures of a run, as they stand at the moment."""

    published: int = 0
    lag: int = 0
    max_lag: int = 0  # entries that are unread or pending
    happened: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0  # until everything was committed
    resent: int = 0
    duplicates: int = 0
    rings: int = 0  # batches that producers sent again, since the server had forgotten them
    audits: int = 0  # while it went on, and at the end
    found: Found = msgspec.field(default_factory=Found)
    differences: list[str] = msgspec.field(default_factory=list)

    @property
    def kills(self) -> int:
        """Return how many workers were killed."""
        return self.happened[Kind.KILL]

    @property
    def stalls(self) -> int:
        """Return how many workers were stopped for longer than their lease."""
        return self.happened[Kind.STALL]

    @property
    def cuts(self) -> int:
        """Return how many times a connection was reset."""
        return sum(self.happened[fault] for fault in _CUTS)

    @property
    def server_restarts(self) -> int:
        """Return how many times the server was killed and started again."""
        return self.happened[Kind.KILL_SERVER]


class _Run:
    def __init__(self, settings: Settings, fleet: Fleet, proxy: Proxy, show: Callable[[Report], None]) -> None:
        self._fleet = fleet
        self._proxy = proxy
        self._show = show
        self._chaos = Chaos(fleet, proxy)
        self._audits = Audits(fleet, self._chaos.operators)
        self._plan = plan(
            random.Random(settings.seed), settings.actions, settings.seconds, settings.workers, deeds=settings.deeds
        )
        self._schedule = Schedule(settings.events // _PRODUCERS + 1, settings.seconds)
        self.producers = [
            Producer(index, proxy.ports[PUBLISHERS], PARTITION, settings.seed, self._schedule)
            for index in range(1, _PRODUCERS + 1)
        ]
        self._sample_at = 0.0
        self._client = fleet.server.client(2)
        self.report = Report()

    def go(self) -> None:
        """Do the whole run."""
        began = time.monotonic()
        self._fleet.staff(self._proxy.ports)
        self._wait_until(self._all_ready, "all workers are ready")
        for producer in self.producers:
            producer.start()
        for done in self._chaos.run(self._plan):
            self._schedule.done = done
            self._observe()
        self._schedule.is_over = True
        while not self._all_published():
            self._wait_until(partial(self._goes_on, self._published()), "more is published")
        while (left := self._left()) != 0:
            self._wait_until(partial(self._gets_less, left), "more is committed")
        self._wait_until(self._all_ready, "all workers are ready again")
        self.report.seconds = time.monotonic() - began
        self._sample_at = 0.0
        self._observe()
        self._stop_workers()
        self._finish()

    def _published(self) -> int:
        return sum(len(producer.published) for producer in self.producers)

    def _all_published(self) -> bool:
        return not any(producer.is_alive() for producer in self.producers)

    def _goes_on(self, before: int) -> bool:
        return self._published() > before or self._all_published()

    def _gets_less(self, before: int | None) -> bool:
        left = self._left()
        return left is not None and (before is None or left < before)

    def _all_ready(self) -> bool:
        return all(member.is_ready() for member in self._fleet.members)

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        def looked() -> bool:
            self._chaos.look_after()
            self._observe()
            return condition()

        wait_until(looked, what, PATIENCE_SECONDS)

    def _stop_workers(self) -> None:
        for member in self._fleet.members:
            member.stop(PATIENCE_SECONDS)
            if member.exit_code() != 0:
                self._chaos.surprises.append(f"{member.name} stopped with {member.exit_code()} at the end")

    def _observe(self) -> None:
        """Look at the lag now and then, and show the figures."""
        if time.monotonic() < self._sample_at:
            return
        self._sample_at = time.monotonic() + _SAMPLE_SECONDS
        report = self.report
        left = self._left() if self._fleet.server.state is State.UP else None
        report.lag = report.lag if left is None else left
        report.max_lag = max(report.max_lag, report.lag)
        report.published = self._published()
        report.happened = self._chaos.done + self._proxy.happened
        self._show(report)
        self._audits.look()

    def _left(self) -> int | None:
        """Return how many entries are unread or pending, by the streams themselves; None where they do not answer."""
        left = 0
        try:
            for key in Keys.of(PARTITION).streams.values():
                for group in self._client.xinfo_groups(key):
                    assert group["name"] == GROUP.encode()
                    left += group["pending"] + (group["lag"] or 0)
        except redis.RedisError:  # it starts, or has just been killed; the stream may not be there yet
            return None
        return left

    def _finish(self) -> None:
        report = self.report
        published: list[Published] = [event for producer in self.producers for event in producer.published]
        report.found = compare(self._fleet, published, self._chaos.operators.cut)
        self._audits.finish(report.found)
        report.audits = self._audits.done
        report.resent = sum(producer.resent for producer in self.producers)
        report.duplicates = sum(producer.duplicates for producer in self.producers)
        troubles = [producer.trouble for producer in self.producers if producer.trouble]
        report.rings = sum(producer.rings for producer in self.producers)
        surprises = self._chaos.surprises + self._chaos.operators.surprises
        report.differences = troubles + surprises + report.found.differences + self._audits.differences


def run(settings: Settings, home: Path, show: Callable[[Report], None]) -> Report:
    """Do a run in a directory; its report names every difference. Leaves no process behind."""
    with Fleet(home, settings.workers) as fleet, Proxy(fleet.server.port, [*fleet.names, PUBLISHERS]) as proxy:
        one = _Run(settings, fleet, proxy, show)
        try:
            one.go()
        finally:
            for producer in one.producers:
                producer.give_up()
            for producer in one.producers:
                if producer.is_alive():
                    producer.join(PATIENCE_SECONDS)
            one._client.close()
        return one.report
