"""A worker process on a real server, for tests of what goes wrong between the two."""

from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.events import recipients_of
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, SHORT_TIMES
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)


class Bench:
    """A server and a worker process whose timeouts are short, and what was published and written."""

    def __init__(self, valkey: RealValkey, tmp_path: Path, url: str | None = None, **redis: object) -> None:
        """Take the URL of the worker where it is not the server's, and more options of its section `redis`."""
        self.valkey = valkey
        self._tmp_path = tmp_path
        self._url = url or valkey.url
        self._redis = {**SHORT_TIMES, "batch_entries": 50, **redis}
        self.path = tmp_path / "files"
        self._paths = {self.path}
        self._others: list[WorkerProcess] = []
        self.worker = self._worker("worker-1", self.path)
        self.client: Any = valkey.client()
        self.publisher = Publisher(self.client, PARTITION)

    def another(self, name: str, path: Path | None = None) -> WorkerProcess:
        """Return one more worker, in the same directory unless another is given; it is not started."""
        self._paths.add(path or self.path)
        self._others.append(self._worker(name, path or self.path))
        return self._others[-1]

    def _worker(self, name: str, path: Path) -> WorkerProcess:
        ini = self._tmp_path / f"{name}.{path.name}.ini"
        lines = "".join(f"{key}={value}\n" for key, value in self._redis.items())
        ini.write_text(f"path={path}\narchiving=true\n[redis]\n{lines}")
        return WorkerProcess(ini, self._url, name, log=ini.with_suffix(".log"))

    def kill(self) -> None:
        """Kill every worker."""
        for worker in (self.worker, *self._others):
            worker.kill()

    def publish(self) -> None:
        self.publisher.publish_some(30, per_batch=2)

    def rows(self) -> Counter[str]:
        return sum((recipients_in(path) for path in self._paths), Counter())

    def written(self) -> bool:
        """Tell whether every published event has rows."""
        return set(self.expected()) <= set(self.rows())

    def committed(self) -> bool:
        """Tell whether nothing is pending."""
        return not any(self.client.xpending(key, "accounting")["pending"] for key in KEYS.streams.values())

    def expected(self) -> list[str]:
        return recipients_of(event for events in self.publisher.published.values() for event in events)

    def write_some(self) -> None:
        """Publish events and wait until their rows are committed."""
        self.publish()
        wait_until(self.written, "the first rows")
        wait_until(self.committed, "commits")

    def told(self, words: str) -> None:
        """Wait until the worker has logged something."""
        wait_until(lambda: words in self.worker.log(), words)

    def check(self) -> None:
        """Wait until everything is written, stop the workers, and compare."""
        wait_until(self.written, "every row")
        wait_until(self.committed, "every commit")
        assert {worker.stop() for worker in (self.worker, *self._others) if worker.is_alive()} == {0}
        assert self.rows() == Counter(self.expected())
