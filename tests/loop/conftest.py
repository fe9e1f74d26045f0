"""The loop on fakeredis: real files, a hand-moved clock, faults injected at the connection."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from fakeredis import FakeServer

from tests.support.publisher import Publisher
from tests.support.workers import PARTITION, HandClock, changed, make_worker, settings
from worker.loop import Worker
from worker.settings import Settings
from worker.stream.keys import Keys


class Wire:
    """Opens connections to a fake server, and breaks them when told to."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.lose_reply_of: str | None = None  # the request with this word runs, its reply never arrives
        self.before: dict[str, list[Callable[[], None]]] = defaultdict(list)  # by word: done before such requests

    def happen(self, request: tuple[str, ...]) -> None:
        """Do what is to be done before a request: each thing once, one at a request."""
        for word, things in list(self.before.items()):
            if things and word in request:
                things.pop(0)()

    def connect(self) -> "WiredConnection":
        """Open a connection."""
        return WiredConnection(self)


class WiredConnection(fakeredis.FakeRedisConnection):
    """A connection of redis-py to the fake server whose replies can be lost."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(server=wire.server, protocol=2, retry=None, health_check_interval=0)
        self._wire = wire
        self._sent: list[bool] = []

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        self._wire.happen(tuple(map(str, args)))
        super().send_command(*args, **kwargs)
        word = self._wire.lose_reply_of
        self._sent.append(word is not None and word in map(str, args))

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        lost = bool(self._sent) and self._sent.pop(0)
        response = super().read_response(*args, **kwargs)
        if lost:
            self._wire.lose_reply_of = None
            self.disconnect()
            raise redis.ConnectionError("reply lost")
        return response


class Lab:
    """One directory, one fake server, any number of workers that follow each other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = FakeServer()
        self.wire = Wire(self.server)
        self.client: Any = fakeredis.FakeRedis(server=self.server, protocol=2)
        self.keys = Keys.of(PARTITION)
        self.clock = HandClock()
        self.settings = settings(path)
        self.publisher = Publisher(self.client, PARTITION)
        self._workers: list[Worker] = []

    def configure(self, part: str, **changes: object) -> None:
        """Change the settings of workers made from now on."""
        self.settings = changed(self.settings, part, **changes)

    def worker(self, configured: Settings | None = None) -> Worker:
        """Make a worker and recover it."""
        worker = self.worker_to_start(configured)
        assert worker.recover()
        return worker

    def worker_to_start(self, configured: Settings | None = None) -> Worker:
        """Make a worker that has its directory and nothing else."""
        worker = make_worker(configured or self.settings, self.wire.connect, self.clock)
        self._workers.append(worker)
        return worker

    def die(self, worker: Worker) -> None:
        """End a worker as SIGKILL does: locks and connection are gone, nothing else happens."""
        worker.release()
        self._workers.remove(worker)

    def stop(self, worker: Worker) -> None:
        """End a worker as SIGTERM does."""
        worker.stop()
        worker.run()
        self._workers.remove(worker)

    def close(self) -> None:
        for worker in list(self._workers):
            self.die(worker)

    def pending(self) -> int:
        """Return how many entries are delivered and not acknowledged."""
        return sum(self.client.xpending(key, "accounting")["pending"] for key in self.keys.streams.values())

    def ledger(self, counter: str) -> int:
        """Return a counter of the ledger, summed over the types."""
        return sum(int(self.client.hget(self.keys.ledger, f"{name}:{counter}") or 0) for name in self.keys.streams)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "accounting_files")
    yield made
    made.close()
