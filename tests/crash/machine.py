"""The crash machine: one worker that dies again and again, and what its files must hold in the end."""

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from fakeredis import FakeServer

from schemas.events import TYPES
from tests.crash.disk import Died, Disk, Kernel, install
from tests.support.events import recipients_of
from tests.support.files import check_manifest, data_files, recipients_in, sealed_files
from tests.support.publisher import Publisher
from tests.support.workers import PARTITION, HandClock, changed, make_worker, settings
from worker import process_id


class MortalKernel(Kernel):
    """Counts the operations of one process; lets it die at the n-th, so that nothing changes any more after it."""

    def __init__(self, disk: Disk) -> None:
        super().__init__([disk])
        self.die_at: int | None = None
        self.operations = 0
        self.lived = 0  # operations of the life before

    def arm(self, die_at: int | None) -> None:
        """Let the process die at its n-th operation from now on, or not at all."""
        self.lived = self.operations
        self.die_at, self.operations = die_at, 0

    def tick(self, what: str) -> None:
        self.operations += 1
        if self.die_at is not None and self.operations >= self.die_at:
            raise Died


class CountedConnection(fakeredis.FakeRedisConnection):
    """A connection whose scripts and reads are operations at which the process can die, before they run or after."""

    kernel: Kernel

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        counts = args[0] in {"EVALSHA", "XREADGROUP"}
        if counts:
            self.kernel.tick(str(args[0]))
        super().send_command(*args, **kwargs)
        if counts:
            self.kernel.tick(str(args[0]))


class Machine:
    """Runs a worker to the end through deaths; the server never fails."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch, *, max_size_bytes: int = 300) -> None:
        self.path = base / "files"
        self.path.mkdir(parents=True)
        (base / "stash").mkdir()
        self.disk = Disk(self.path, base / "stash")
        self.kernel = MortalKernel(self.disk)
        server = FakeServer()
        self._client: Any = fakeredis.FakeRedis(server=server, protocol=2)
        self.publisher = Publisher(self._client, PARTITION)
        rotating = changed(settings(self.path), "rotation", max_size_bytes=max_size_bytes)
        self._settings = changed(rotating, "stream", batch_entries=1)  # several batches in a file
        self._server = server
        install(self.kernel, patch)
        self._lives = 0
        patch.setattr(process_id, "mine", self._process)
        patch.setattr(process_id, "is_gone", lambda holder: holder != self._process())

    def _process(self) -> str:
        """Return who the process of this life is; those before it are dead."""
        return f"life {self._lives} -"

    def _connect(self) -> CountedConnection:
        connection = CountedConnection(server=self._server, protocol=2, retry=None, health_check_interval=0)
        connection.kernel = self.kernel
        return connection

    def live(self, die_at: int | None, *, events: int) -> bool:
        """Start a worker and let it work until it dies or has drained everything; tells whether it lived."""
        self.publisher.publish_some(events)
        self._lives += 1
        self.kernel.arm(die_at)
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
            self.kernel.arm(None)
            if worker is not None:
                worker._schedule.stop()
            self.kernel.close_descriptors(None)
        return True

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
            if not machine.live(die_at, events=events) and power_loss:
                machine.disk.power_loss(chance)
        assert machine.live(None, events=events)
        machine.check()


def operations_of_a_life(events: int = 6) -> int:
    """Return how many operations a life without a death has."""
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        machine = Machine(Path(base), patch)
        assert machine.live(None, events=events)
        return machine.kernel.lived
