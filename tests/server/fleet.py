"""Several workers of this process on a real server; deaths and stalls are those of their leases and locks."""

from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.any_server import AnyServer
from tests.support.events import recipients_of
from tests.support.files import data_files, recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, HandClock, changed, make_worker, settings
from worker.loop import RECOVERABLE, Worker
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)


class Killed(BaseException):
    """The process died here."""


class Fleet:
    """Workers in this process, in one directory unless another is given."""

    def __init__(self, valkey: RealValkey | AnyServer, path: Path) -> None:
        self.url = valkey.url
        self.path = path
        self.client: Any = valkey.client()
        self.publisher = Publisher(self.client, PARTITION)
        self.clock = HandClock()
        self.workers: list[Worker] = []

    def worker(self, name: str, path: Path | None = None, **stream: object) -> Worker:
        configured = changed(settings(path or self.path, name=name), "stream", **stream)
        worker = make_worker(configured, None, self.clock, url=self.url)
        self.workers.append(worker)
        assert worker.recover()
        return worker

    def die(self, worker: Worker) -> None:
        """End a worker as SIGKILL does, long enough ago for its lease to be gone."""
        worker.release()
        self.lapse(worker)

    def lapse(self, worker: Worker) -> None:
        """Let the lease of a worker run out, as a stall does."""
        self.client.delete(KEYS.lease(worker._stream._consumer))
        self.clock.now += 60

    def work(self, worker: Worker) -> None:
        """Step until nothing is unread or pending, recovering as `run` does."""
        for _ in range(2000):
            if worker._in_hand is None and not self.left():
                return
            try:
                worker.step()
            except RECOVERABLE as error:
                worker.recover(error)
        raise AssertionError("not drained")

    def left(self) -> int:
        """Return how many entries are unread or pending."""
        left = 0
        for key in KEYS.streams.values():
            [group] = self.client.xinfo_groups(key)
            last = group["last-delivered-id"].decode()
            left += group["pending"] + len(self.client.xrange(key, f"({last}"))  # no `lag`: Redis 6.2 has none
        return left

    def check(self, *paths: Path) -> None:
        """Compare all files with what was published."""
        published = [event for events in self.publisher.published.values() for event in events]
        found: Counter[str] = sum((recipients_in(path) for path in paths or (self.path,)), Counter())
        assert found == Counter(recipients_of(published))

    def owned(self) -> list[Path]:
        return [file for event_type in KEYS.streams for file in data_files(self.path, event_type)]
