"""A disk that cannot be written for long: the worker holds nothing, lets its lease run out, and tells it once."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loop.conftest import Lab
from tests.loop.test_crashes_and_lost_replies import work_on
from tests.loop.test_disk import warnings
from tests.loop.test_rows_reach_files import expected
from tests.support.files import data_files, recipients_in, rows_of
from tests.support.workers import PARTITION, drain, settings
from worker.errors import DiskTrouble
from worker.loop import Worker
from worker.stream.inspection import inspect


class Broken:
    """A disk on which some operations fail until it is mended, for all files below a directory."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch, names: tuple[str, ...], number: int) -> None:
        self._path = path
        self._number = number
        self.is_broken = True
        self.failed = 0
        for name in names:
            patch.setattr(os, name, self._broken(getattr(os, name)))

    def _broken(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **named: Any) -> Any:
            where = str(Path(f"/proc/self/fd/{first}").readlink()) if isinstance(first, int) else str(first)
            writes = real.__name__ != "open" or rest[0] & os.O_CREAT
            if self.is_broken and writes and where.startswith(f"{self._path}/"):
                self.failed += 1
                raise OSError(self._number, os.strerror(self._number), *[where] * (real.__name__ == "open"))
            return real(first, *rest, **named)

        return call


def is_healthy(lab: Lab) -> bool:
    """Tell what `status --check` does."""
    found = inspect(lab.wire.connect, PARTITION)
    return any(each.alive for each in found.consumers if each.name == "worker-1")


def meanwhile(lab: Lab, worker: Worker, deeds: dict[float, Callable[[], None]]) -> None:
    """Let things happen while a worker pauses, once its clock comes to their instants."""

    def sleep(seconds: float) -> None:
        lab.clock.sleep(seconds)
        for instant in [each for each in deeds if lab.clock.now >= each]:
            deeds.pop(instant)()

    worker._patience.pauses = worker._patience.pauses._replace(sleep=sleep)


@pytest.mark.parametrize(
    ("names", "number"),
    [
        (("write",), errno.ENOSPC),
        (("write",), errno.EDQUOT),
        (("write",), errno.EIO),
        (("fsync",), errno.EIO),
        (("open", "write"), errno.EROFS),
    ],
)
@pytest.mark.parametrize("part", [".", "delivered"])
def test_a_worker_that_cannot_write_takes_nothing_is_not_healthy_and_goes_on_once_it_can(  # noqa: PLR0917
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    names: tuple[str, ...], number: int, part: str,
) -> None:  # fmt: skip
    caplog.set_level("INFO")
    worker = lab.worker()
    other = lab.worker(settings(lab.path.parent / "elsewhere", name="worker-2"))
    assert is_healthy(lab)
    lab.publisher.publish_some(9)
    disk = Broken(lab.path / part, monkeypatch, names, number)
    with pytest.raises(DiskTrouble) as trouble:
        worker.step()
    lab.client.delete(lab.keys.lease("worker-1"))  # it runs out
    states: list[bool] = []

    def take_over() -> None:
        drain(other, 9)
        lab.publisher.publish_some(9)

    def mend() -> None:
        states.append(is_healthy(lab))
        assert lab.pending() == 0  # it took nothing
        disk.is_broken = False

    meanwhile(lab, worker, {1_030: take_over, 1_060: mend})
    assert worker.recover(trouble.value)
    assert lab.clock.now >= 1_060
    assert disk.failed > 10
    assert states == [False]
    assert "worker.recovered" not in caplog.text
    while worker.totals.events < 9:
        worker.step()
    assert is_healthy(lab)
    assert caplog.text.count("worker.recovered") == 1
    assert len(warnings(caplog)) <= 2  # what failed, and what was tried since
    assert recipients_in(lab.path) + recipients_in(other._directory.path) == expected(lab)


def statvfs(patch: pytest.MonkeyPatch, change: Callable[[list[int]], None]) -> None:
    """Change what the disk tells of itself."""
    real = os.statvfs

    def call(path: Any) -> Any:
        values = list(real(path))
        change(values)
        return os.statvfs_result(values)

    patch.setattr(os, "statvfs", call)


def test_a_disk_that_is_nearly_full_pauses_reading_and_lets_the_lease_run_out_until_there_is_room(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lab.configure("directory", min_free_bytes=50_000_000)
    worker = lab.worker()
    free = [1_000]  # blocks: fewer each time

    def shrink(values: list[int]) -> None:
        free[0] = max(1, free[0] - 300) if free[0] < 10**9 else free[0]
        values[4] = free[0]

    statvfs(monkeypatch, shrink)
    lab.clock.now += 5
    lab.publisher.publish_some(9)
    with pytest.raises(DiskTrouble, match="MB free, expected at least 50") as trouble:
        worker.step()
    lab.client.delete(lab.keys.lease("worker-1"))  # it runs out
    states: list[tuple[bool, int]] = []

    def make_room() -> None:
        states.append((is_healthy(lab), lab.pending()))
        free[0] = 10**9

    meanwhile(lab, worker, {1_060: make_room})
    assert worker.recover(trouble.value)
    assert states == [(False, 0)]
    work_on(lab, worker, 9)
    assert is_healthy(lab)
    assert len(warnings(caplog)) == 1
    assert caplog.text.count("worker.recovered") == 1


def test_an_idle_worker_whose_disk_is_mounted_read_only_is_not_healthy(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = lab.worker()
    flags = [os.ST_RDONLY]
    statvfs(monkeypatch, lambda values: values.__setitem__(8, values[8] | flags[0]))
    lab.clock.now += 5
    with pytest.raises(DiskTrouble, match="read-only") as trouble:
        worker.step()
    lab.client.delete(lab.keys.lease("worker-1"))
    states: list[bool] = []

    def remount() -> None:
        states.append(is_healthy(lab))
        flags[0] = 0

    meanwhile(lab, worker, {1_060: remount})
    assert worker.recover(trouble.value)
    worker.step()
    assert states == [False]
    assert is_healthy(lab)


def test_a_file_that_cannot_be_made_durable_is_given_up_when_somebody_moves_it_away(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    [file] = data_files(lab.path, "delivered")
    bad, real = file.stat().st_ino, os.fsync

    def fsync(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    lab.publisher.publish_some(9)
    with pytest.raises(DiskTrouble) as trouble:
        worker.step()

    def move_away() -> None:
        file.rename(lab.path / "moved-away")

    meanwhile(lab, worker, {1_060: move_away})
    assert worker.recover(trouble.value)
    assert lab.clock.now >= 1_060
    assert len(rows_of(lab.path / "recovered" / file.name)) == 1
    drain(worker, 12)
    assert sum(recipients_in(lab.path).values()) == 11  # the twelfth stands in recovered/
