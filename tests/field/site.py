"""A site, as an operator runs one: a server, directories, and worker processes that each have an ini of their own."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.events import recipients_of
from tests.support.files import check_manifest, recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, SHORT_TIMES_INI
from worker.manifest import manifest_path
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)
NAME = "worker-1"
LOOK_SECONDS = 0.2

_RCPT = re.compile(r"\w+\.\d+@example\.com")

#: Sections and keys of an ini; those of the top stand under the empty name.
Options = dict[str, object]


class Site:
    """What runs on the hosts of one partition; everything is stopped with the test."""

    def __init__(self, base: Path, server: RealValkey) -> None:
        self.base = base
        self.server = server
        self.path = base / "files"
        self.client: Any = server.client()
        self.publisher = Publisher(self.client, PARTITION)
        self._url: str | None = None
        self._workers: list[WorkerProcess] = []

    @property
    def url(self) -> str:
        """Return the URL that workers and commands are given."""
        return self._url or self.server.url

    # Workers and commands

    def ini(self, path: Path | None = None, label: str = "", **options: object) -> Path:
        """Write the ini of a directory; an option `section__key` stands in a section. Returns the file."""
        at = path or self.path
        sections: dict[str, dict[str, object]] = {"": {"path": at, "archiving": "true"}, "redis": {}}
        for name, value in options.items():
            section, _, key = name.rpartition("__")
            sections.setdefault(section, {})[key] = value
        lines = [f"{key}={value}\n" for key, value in sections.pop("").items()]
        for section, keys in sections.items():
            lines += [f"[{section}]\n", *(f"{key}={value}\n" for key, value in keys.items())]
            lines += [SHORT_TIMES_INI] if section == "redis" else []
        ini = self.base / f"{at.name}{label}.ini"
        ini.write_text("".join(lines))
        return ini

    def worker(self, name: str = NAME, path: Path | None = None, **options: object) -> WorkerProcess:
        """Return a worker that is not started yet, with an ini of its own."""
        ini = self.ini(path, f".{name}", **options)
        made = WorkerProcess(ini, self.url, name, log=ini.with_suffix(".log"))
        self._workers.append(made)
        return made

    def started(self, name: str = NAME, path: Path | None = None, **options: object) -> WorkerProcess:
        """Return a worker at work."""
        made = self.worker(name, path, **options)
        made.start()
        return made

    def refused(self, worker: WorkerProcess) -> tuple[int, str]:
        """Start a worker that has to end by itself; returns its exit code and what it said."""
        worker.start(ready=False)
        return worker.process.wait(90), worker.log()

    def run(self, *words: str, path: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command with the ini of a directory, on the site's server."""
        server = [] if words[0] in {"verify", "directory"} else ["--redis", self.url]
        config = [] if words[0] == "verify" else ["--config", str(self.ini(path, ".command", **options))]
        command = [sys.executable, "-m", "worker", *words, *config, *server]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    def kill(self) -> None:
        """SIGKILL every worker."""
        for worker in self._workers:
            worker.kill()

    # Events and rows

    def write(self, events: int, *, recipients: int = 1, paths: Iterable[Path] = ()) -> None:
        """Publish events, and wait until their rows are committed."""
        self.publisher.publish_some(events, recipients=recipients)
        self.settle(*paths)

    def write_more(self, events: int) -> None:
        """Publish events, and wait until these have rows, whatever became of earlier ones."""
        before = self.expected()
        self.publisher.publish_some(events)
        self.wait(lambda: not self.left() and not self.expected() - before - self.rows(), "the new rows")

    def settle(self, *paths: Path) -> None:
        """Wait until everything that was published has rows, and nothing is unread or pending."""
        looked_at = paths or (self.path,)
        self.wait(lambda: not self.left() and not self.expected() - self.rows(*looked_at), "every row")

    def left(self) -> int:
        """Return how many entries are unread or pending; all of them where there is no group."""
        left = 0
        with suppress(redis.ConnectionError, redis.TimeoutError):
            for key in KEYS.streams.values():
                groups = self.client.xinfo_groups(key) if self.client.exists(key) else []
                last = next((group["last-delivered-id"].decode() for group in groups), "0-0")
                left += sum(group["pending"] for group in groups) + len(self.client.xrange(key, f"({last}"))
            return left
        return -1

    def expected(self) -> Counter[str]:
        """Return the recipients of what was published."""
        return Counter(recipients_of(event for events in self.publisher.published.values() for event in events))

    def rows(self, *paths: Path) -> Counter[str]:
        """Return the recipients that stand in accounting files, with how often they do."""
        return sum((recipients_in(path) for path in paths or (self.path,)), Counter())

    def wait(self, condition: Callable[[], bool], what: str, *, seconds: float = 90) -> None:
        """Wait for a condition; says what the workers logged where it does not come about."""

        def seldom() -> bool:
            time.sleep(LOOK_SECONDS)
            return condition()

        try:
            wait_until(seldom, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def told(self, worker: WorkerProcess, words: str) -> None:
        """Wait until a worker has logged something."""
        self.wait(lambda: words in worker.log(), words)

    def logs(self) -> str:
        """Return what all workers logged since their last starts."""
        return "\n".join(worker.log() for worker in self._workers)

    def server_is_new(self) -> None:
        """Be what connects to a server that was started again."""
        self.client = self.server.client()
        self.publisher.use(self.client)

    # What has to hold at the end

    def stop(self, *workers: WorkerProcess) -> None:
        """Stop workers; each ends with 0."""
        assert [worker.stop() for worker in workers] == [0] * len(workers), self.logs()

    def check(self, *workers: WorkerProcess, paths: Iterable[Path] = ()) -> None:
        """Wait until everything is written, stop the workers, and compare: each row stands once, in sealed files."""
        looked_at = tuple(paths) or (self.path,)
        self.settle(*looked_at)
        self.stop(*workers)
        assert self.rows(*looked_at) == self.expected()
        self.check_files(*looked_at)

    def check_files(self, *paths: Path) -> None:
        """Compare every file that has a manifest with it."""
        for path in paths or (self.path,):
            for file in data_files(path):
                if manifest_path(file).exists():
                    check_manifest(file)

    def check_recovered(self, path: Path | None = None) -> None:
        """Check that no row in `recovered/` is the only one: what was cut off before it was acknowledged came again."""
        kept = (path or self.path) / "recovered"
        found = {rcpt for each in kept.glob("*.tail*") for rcpt in _RCPT.findall(each.read_text())}
        assert found <= set(self.rows(path or self.path))

    def recovered_rows(self, path: Path | None = None) -> int:
        """Return how many lines stand in `recovered/`."""
        kept = (path or self.path) / "recovered"
        files = [each for each in kept.glob("*") if each.suffix != ".json"] if kept.is_dir() else []
        return sum(each.read_bytes().count(b"\n") for each in files)

    def notes(self, pattern: str, path: Path | None = None) -> list[Path]:
        """Return the notes in `lost/` with such a name."""
        return sorted(((path or self.path) / "lost").glob(pattern))


def data_files(path: Path) -> list[Path]:
    """Return every accounting file of a directory, whatever its location, archive and extension."""
    names = re.compile(r"(d|df|b)\..*")
    skipped = {"recovered", "lost", "journal", "series", "copied"}
    return sorted(
        each
        for each in path.rglob("*")
        if each.is_file() and names.fullmatch(each.name) and each.suffix != ".json"
        and not skipped & set(each.relative_to(path).parts[:-1])
    )  # fmt: skip


def open_files(path: Path) -> list[Path]:
    """Return the files that are not sealed."""
    return [each for each in data_files(path) if not manifest_path(each).exists()]


def is_long() -> bool:
    """Tell whether the long form is asked for."""
    return os.environ.get("FIELD") == "all"


#: A test, or a case of one, that only the long form has.
long = pytest.mark.skipif(not is_long(), reason="FIELD=all")


def content(path: Path) -> dict[str, bytes]:
    """Return what stands in a directory, but for what a start notes of itself: locks, a token, the passed time."""
    noted = {"accounting.id", ".passed-time", ".janitor"}
    found = {str(each.relative_to(path)): each for each in path.rglob("*") if each.is_file()}
    return {name: each.read_bytes() for name, each in found.items() if name not in noted and "lock" not in name}
