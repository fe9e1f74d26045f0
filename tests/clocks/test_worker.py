"""A worker process whose wall clock is set while it runs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.wall_clock import WallClock
from tests.support.workers import PARTITION
from worker.manifest import decode
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)


class Working(WorkerProcess):
    """A worker whose chores have their turn every second."""

    module = "tests.clocks.working"


class Mail:
    """A server, a worker process that is not started yet, and what it does once in a while."""

    def __init__(self, valkey: RealValkey, path: Path, rotation: str) -> None:
        self.path = path / "files"
        ini = path / "accounting.ini"
        ini.write_text(f"path={self.path}\narchiving=true\ncompress=gzip\n{rotation}\n[redis]\nblock_ms=200\n")
        self.worker = Working(ini, valkey.url)
        self.client: Any = valkey.client()
        self._publisher = Publisher(self.client, PARTITION)
        self._rows = 0

    def write(self) -> None:
        """Let the worker write a row of each type."""
        self._publisher.publish_some(3)
        self._rows += 3
        counters = [f"{name}:rows" for name in KEYS.streams]
        wait_until(lambda: sum(map(int, self.client.hmget(KEYS.ledger, counters))) == self._rows, "its rows")

    def reasons(self) -> list[str]:
        """Return why each sealed file was rotated."""
        paths = [path for path in self.path.rglob("[!.]*.json") if path.parent.name != "series"]
        found = {path.name: path for path in paths}  # one on its move has two
        return [decode(path.read_bytes(), path).reason for path in found.values()]

    def goes_on(self) -> None:
        """Wait until summary, a chore and the janitor had their turn."""
        summaries = self.worker.log().count("worker.summary")
        self.client.hdel(KEYS.watch, "delivered:sound")
        wait_until(lambda: self.worker.log().count("worker.summary") > summaries, "a summary")
        wait_until(lambda: self.client.hexists(KEYS.watch, "delivered:sound"), "a look for losses")
        self.write()
        self.worker.process.send_signal(1)
        compressed = self.worker.log().count("file.compressed")
        wait_until(lambda: self.worker.log().count("file.compressed") >= compressed + 3, "the janitor")

    def wait_for(self, *reasons: str) -> None:
        def are_there() -> bool:
            with suppress(FileNotFoundError):  # on its move, or made anew
                return self.reasons() == list(reasons)
            return False

        wait_until(are_there, str(reasons))


@pytest.fixture
def make_mail(valkey: RealValkey, tmp_path: Path, wall: WallClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    wall.for_new_processes(monkeypatch)
    made: list[Mail] = []

    def make(rotation: str = "") -> Mail:
        made.append(Mail(valkey, tmp_path, rotation))
        return made[-1]

    yield make
    for mail in made:
        mail.worker.kill()
        mail.client.close()


@pytest.mark.parametrize(("at_start", "then"), [(10, 0), (0, 10), (0, -10)])
def test_chores_janitor_and_summary_go_on_wherever_the_clock_is_set(
    make_mail: Any, wall: WallClock, at_start: float, then: float
) -> None:
    mail = make_mail()
    wall.set(days=at_start)
    mail.worker.start()
    mail.goes_on()
    wall.set(days=then)
    mail.goes_on()
    assert mail.worker.stop() == 0


@pytest.mark.parametrize("days", [10, -10])
def test_the_interval_is_that_of_the_time_that_passes(make_mail: Any, wall: WallClock, days: float) -> None:
    mail = make_mail("archive_interval=3")
    mail.worker.start()
    mail.write()
    wall.set(days=days)
    mail.wait_for(*["interval"] * 3)
    mail.write()
    wall.set(days=0)
    mail.wait_for(*["interval"] * 6)


def test_no_interval_is_over_because_the_clock_is_set_forward(make_mail: Any, wall: WallClock) -> None:
    mail = make_mail("archive_interval=86400")
    mail.worker.start()
    mail.write()
    wall.set(days=40)
    mail.goes_on()
    mail.wait_for(*["command"] * 3)  # of goes_on


def test_an_instant_of_archive_cron_that_the_clock_passes_over_counts(make_mail: Any, wall: WallClock) -> None:
    mail = make_mail("archive_cron=0 0 1 1 *")
    mail.worker.start()
    mail.write()
    wall.set(days=370)
    mail.wait_for(*["cron"] * 3)


def test_archive_cron_does_not_wait_for_a_time_that_was_set_back(make_mail: Any, wall: WallClock) -> None:
    mail = make_mail("archive_cron=* * * * *")
    wall.set(days=4000)
    mail.worker.start()
    mail.write()
    wall.set(days=0)
    mail.wait_for(*["cron"] * 3)  # within a minute, not in eleven years
