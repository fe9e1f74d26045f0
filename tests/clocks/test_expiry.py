"""Expiry by real processes whose wall clock is set: `tidy`, and a worker before it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.wall_clock import WallClock
from tests.support.workers import PARTITION


class Box:
    """A machine with a server, a worker and an ini that lets files expire after 30 days."""

    def __init__(self, valkey: RealValkey, path: Path) -> None:
        self.path = path / "files"
        self._ini = path / "accounting.ini"
        self._ini.write_text(f"path={self.path}\narchiving=true\nkeep_days=30\n[redis]\nblock_ms=200\n")
        self.worker = WorkerProcess(self._ini, valkey.url)
        self._client = valkey.client()
        self._publisher = Publisher(self._client, PARTITION)

    def write(self) -> None:
        """Let the worker start, write rows, and stop."""
        self.worker.start()
        before = self._rows()
        self._publisher.publish_some(3)
        wait_until(lambda: self._rows() == before + 3, "three rows")
        self.worker.stop()

    def _rows(self) -> int:
        return sum(
            int(self._client.hget(f"{{{PARTITION}}}:ledger", f"{name}:rows") or 0)
            for name in ("delivered", "deferred", "bounce")
        )

    def tidy(self, *options: str) -> str:
        """Run it and return what it says."""
        command = [sys.executable, "-m", "worker", "tidy", "--config", str(self._ini), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        return done.stdout

    def sealed(self) -> int:
        return sum(len(sealed_files(self.path, name)) for name in ("delivered", "deferred", "bounce"))


@pytest.fixture
def box(valkey: RealValkey, tmp_path: Path, wall: WallClock, monkeypatch: pytest.MonkeyPatch) -> Box:
    wall.for_new_processes(monkeypatch)
    return Box(valkey, tmp_path)


def test_a_clock_that_is_40_days_ahead_removes_nothing_of_what_a_worker_has_just_written(
    box: Box, wall: WallClock
) -> None:
    box.write()
    wall.set(days=40)
    assert "expired 0" in box.tidy()
    box.write()
    assert "expired 0" in box.tidy()
    wall.set(days=0)
    assert "expired 0" in box.tidy()
    assert box.sealed() == 6


def test_what_was_written_while_the_clock_was_behind_does_not_go_once_it_is_right(box: Box, wall: WallClock) -> None:
    wall.set(days=-20_000)
    box.write()
    wall.set(days=0)
    box.write()
    assert "expired 0" in box.tidy()
    assert box.sealed() == 6


def test_days_that_nobody_saw_pass_count_where_the_operator_says_so(box: Box, wall: WallClock) -> None:
    box.write()
    assert "expired 0" in box.tidy()
    wall.set(days=31)
    assert "expired 0" in box.tidy()
    assert "expired 3" in box.tidy("--trust-clock")
    assert box.sealed() == 0
