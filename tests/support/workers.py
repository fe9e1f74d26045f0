"""Workers in this process, on fakeredis or on a real server."""

import time
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

import msgspec

from schemas.catalogue import DEFAULT_COLUMNS
from schemas.events import TYPES
from worker.assembly import build_worker
from worker.loop import Worker
from worker.patience import Pauses
from worker.settings import (
    DirectorySettings,
    Format,
    NameSettings,
    RotationSettings,
    RowSettings,
    ServerSettings,
    Settings,
    StreamSettings,
    WorkerSettings,
)
from worker.stream import Connector

PARTITION = "haraka:accounting"

#: The shortest times of a worker process that a loaded machine keeps: a server that stalls for less is no fault.
SHORT_TIMES = {"socket_timeout_seconds": 5, "block_ms": 200, "lease_seconds": 11}
SHORT_TIMES_INI = "".join(f"{key}={value}\n" for key, value in SHORT_TIMES.items())  # below [redis]


def settings(path: Path, *, archiving: bool = True, name: str = "worker-1") -> Settings:
    """Return settings for tests: UTC, small batches, no waiting for entries."""
    return Settings(
        rows=RowSettings(format=Format.TSV, separator="\t", timezone=UTC, columns=DEFAULT_COLUMNS),
        names=NameSettings(template="{type}.{time}.{extension}", extension="tsv", timezone=UTC),
        rotation=RotationSettings(archiving=archiving, interval_seconds=86_400, max_size_bytes=200_000_000),
        directory=DirectorySettings(
            path=path, location={name: name for name in TYPES}, archive_to=dict.fromkeys(TYPES, "archive")
        ),
        stream=StreamSettings(
            url=None, password=None, partition=PARTITION, socket_timeout_seconds=5, block_ms=1, lease_seconds=30,
            batch_entries=7, batch_bytes=1_000_000,
        ),
        server=ServerSettings(directory=path / "server", port=1),
        worker=WorkerSettings(name=name),
    )  # fmt: skip


def changed(base: Settings, part: str, **changes: object) -> Settings:
    """Return settings with some values of one part replaced."""
    return msgspec.structs.replace(base, **{part: msgspec.structs.replace(getattr(base, part), **changes)})


@dataclass
class HandClock:
    """A monotonic clock that a test moves, and that moves by itself only while somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    wall_is_ahead: float = 0.0  # of the machine's clock, in seconds

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once; a test whose worker never comes back fails here."""
        self.slept.append(seconds)
        assert len(self.slept) < 1_000, "the worker does not recover"
        self.now += seconds

    def wall(self) -> float:
        """Return what a clock on the wall says."""
        return time.time() + self.wall_is_ahead

    def pauses(self) -> Pauses:
        """Return the loop's view of it."""
        return Pauses(monotonic=lambda: self.now, sleep=self.sleep, jitter=lambda: 0.5, wall=self.wall)


def make_worker(configured: Settings, connect: Connector | None, clock: HandClock, *, url: str = "") -> Worker:
    """Return a worker whose lock is held, not started."""
    return build_worker(configured, url, connect=connect, pauses=clock.pauses())


def drain(worker: Worker, events: int, *, steps: int = 10_000) -> None:
    """Step until the worker has committed that many events (rows, dead letters and lost ones together)."""
    for _ in range(steps):
        totals = worker.totals
        if totals.events + totals.dead + totals.lost >= events:
            return
        worker.step()
    raise AssertionError(f"not drained after {steps} steps: {worker.totals}")
