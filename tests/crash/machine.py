"""The crash machine: one worker that dies again and again, and what its files must hold in the end."""

import os
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from fakeredis import FakeServer

from schemas.events import TYPES
from tests.crash.disk import Died, Disk, install
from tests.support.events import recipients_of
from tests.support.files import check_manifest, data_files, recipients_in, sealed_files
from tests.support.publisher import Publisher
from tests.support.workers import PARTITION, HandClock, changed, make_worker, settings


class CountedConnection(fakeredis.FakeRedisConnection):
    """A connection whose scripts and reads are operations at which the process can die, before they run or after."""

    disk: Disk

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        counts = args[0] in {"EVALSHA", "XREADGROUP"}
        if counts:
            self.disk.tick()
        super().send_command(*args, **kwargs)
        if counts:
            self.disk.tick()


class Machine:
    """Runs a worker to the end through deaths; the server never fails."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch, *, max_size_bytes: int = 300) -> None:
        self.path = base / "files"
        self.path.mkdir(parents=True)
        (base / "stash").mkdir()
        self.disk = Disk(self.path, base / "stash")
        server = FakeServer()
        self._client: Any = fakeredis.FakeRedis(server=server, protocol=2)
        self.publisher = Publisher(self._client, PARTITION)
        rotating = changed(settings(self.path), "rotation", max_size_bytes=max_size_bytes)
        self._settings = changed(rotating, "stream", batch_entries=1)  # several batches in a file
        self._server = server
        install(self.disk, patch)

    def _connect(self) -> CountedConnection:
        connection = CountedConnection(server=self._server, protocol=2, retry=None, health_check_interval=0)
        connection.disk = self.disk
        return connection

    def live(self, die_at: int | None, *, events: int) -> bool:
        """Start a worker and let it work until it dies or has drained everything; tells whether it lived."""
        self.publisher.publish_some(events)
        self.disk.arm(die_at)
        worker = None
        try:
            worker = make_worker(self._settings, self._connect, HandClock())
            worker.recover()
            while self._undone():
                worker.step()
            worker.stop()
            worker.run()
            worker = None
        except Died:
            return False
        finally:
            self.disk.arm(None)
            if worker is not None:
                worker._schedule.stop()
            self._close_descriptors()
        return True

    def _close_descriptors(self) -> None:
        """Close what the dead process had open, and so give up its locks."""
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if entry.readlink().is_relative_to(self.path):
                    os.close(int(entry.name))

    def _undone(self) -> int:
        keys = [f"{event_type}:rows" for event_type in TYPES]
        rows = sum(int(value or 0) for value in self._client.hmget("{haraka:accounting}:ledger", keys))
        return sum(map(len, self.publisher.published.values())) - rows

    def check(self) -> None:
        """Compare the files with what was published: each recipient once, sealed files whole."""
        published = (event for events in self.publisher.published.values() for event in events)
        assert recipients_in(self.path) == Counter(recipients_of(published))
        rows = sum(check_manifest(file).rows for name in TYPES for file in sealed_files(self.path, name))
        assert rows == sum(map(len, self.publisher.published.values()))
        for name in TYPES:
            for file in set(data_files(self.path, name)) - set(sealed_files(self.path, name)):
                assert file.read_bytes().count(b"\n") == 1, f"{file} is not sealed and holds rows"


def run(deaths: Sequence[int], *, seed: int, power_loss: bool, events: int = 6) -> None:
    """Let a worker die at each of these operations of its lives, one life each; then finish and compare."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        machine = Machine(Path(base), patch)
        for die_at in deaths:
            if not machine.live(die_at, events=events):
                machine.disk.power_loss(chance) if power_loss else machine.disk.survive()
        assert machine.live(None, events=events)
        machine.check()


def operations_of_a_life(events: int = 6) -> int:
    """Return how many operations a life without a death has."""
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        machine = Machine(Path(base), patch)
        assert machine.live(None, events=events)
        return machine.disk.lived
