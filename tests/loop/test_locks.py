"""Locks of files: none is kept by who cannot use it, and nobody waits for one deaf and in silence."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.loop.test_disk import failing, warnings
from tests.loop.test_rows_reach_files import expected
from tests.support.files import check_manifest, data_files, recipients_in, sealed_files
from tests.support.workers import drain, settings
from worker.errors import DiskTrouble
from worker.loop import RECOVERABLE, Worker
from worker.stream.script import Script

COMMIT, SEIZE = Script("commit").sha, Script("seize").sha


def leave_a_file(lab: Lab) -> Path:
    """Let worker-1 die with committed rows in its open file, and with one that it did not commit."""
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.die(worker)
    [file] = data_files(lab.path, "delivered")
    with file.open("ab") as content:
        content.write(b"not committed\n")
    return file


def look(lab: Lab, worker: Worker) -> None:
    """Let a worker look for what the dead left, and recover where that fails."""
    lab.clock.now += 60
    try:
        worker.step()
    except RECOVERABLE as error:
        assert worker.recover(error)


@pytest.mark.timeout(60)
def test_a_lost_reply_of_seize_keeps_no_lock_and_both_workers_go_on(lab: Lab) -> None:
    file = leave_a_file(lab)
    other = lab.worker(settings(lab.path, name="worker-2"))
    lab.wire.lose_reply_of = SEIZE
    look(lab, other)
    assert lab.wire.lose_reply_of != SEIZE
    again = lab.worker()
    assert check_manifest(file.parent / "archive" / file.name).rows == 1
    lab.publisher.publish_some(6)
    for _ in range(3):
        look(lab, other)
        look(lab, again)
    assert recipients_in(lab.path) == expected(lab)
    assert other.totals.events + again.totals.events == 6


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("write", lambda data: data == b"not committed\n"),  # the tail is copied
        ("ftruncate", lambda _: True),  # it is cut
        ("link", lambda target: "/archive/" in str(target)),  # it is moved
        ("fchmod", lambda _: True),
    ],
)
def test_an_orphan_whose_end_fails_is_ended_by_the_next_scan(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[[Any], bool]
) -> None:
    file = leave_a_file(lab)
    other = lab.worker(settings(lab.path, name="worker-2"))
    left = failing(errno.EIO, 1, when, name, monkeypatch)
    look(lab, other)
    assert left == []
    look(lab, other)
    assert check_manifest(file.parent / "archive" / file.name).reason == "orphan"
    assert recipients_in(lab.path) == expected(lab)


@pytest.mark.timeout(60)
def test_a_recorded_file_that_another_process_has_is_waited_for_and_told_once(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    descriptor = os.open(leave_a_file(lab), os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    worker = lab.worker_to_start()

    def let_go(seconds: float) -> None:
        lab.clock.sleep(seconds)
        if lab.clock.now > 1_060:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    worker._patience.pauses = worker._patience.pauses._replace(sleep=let_go)
    assert worker.recover()
    os.close(descriptor)
    assert lab.clock.now > 1_060
    [told] = warnings(caplog)
    assert "another process has its lock" in told
    assert recipients_in(lab.path) == expected(lab)


@pytest.mark.timeout(60)
def test_a_worker_that_waits_for_a_lock_stops_when_it_is_asked_to(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    descriptor = os.open(leave_a_file(lab), os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    worker = lab.worker_to_start()

    def stop(seconds: float) -> None:
        lab.clock.sleep(seconds)
        worker.stop()

    worker._patience.pauses = worker._patience.pauses._replace(sleep=stop)
    worker.run()
    os.close(descriptor)
    assert "worker.stopped_early" in caplog.text
    assert len(lab.clock.slept) == 1


def test_a_new_file_whose_name_could_not_be_made_durable_is_not_locked_for_ever(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = lab.worker()
    [old] = data_files(lab.path, "delivered")
    lab.publisher.publish_some(3)
    drain(worker, 3)

    def is_named(descriptor: int) -> bool:
        return stat.S_ISDIR(os.fstat(descriptor).st_mode) and len(data_files(lab.path, "delivered")) == 2

    left = failing(errno.EIO, 1, is_named, "fsync", monkeypatch)
    worker.rotate()
    with pytest.raises(DiskTrouble) as trouble:
        worker.step()
    assert left == []
    assert worker.recover(trouble.value)
    look(lab, worker)
    assert [old.name] == [file.name for file in sealed_files(lab.path, "delivered")]
    look(lab, worker)
    assert len(data_files(lab.path, "delivered")) == 2


def test_a_new_file_that_no_record_names_and_that_cannot_be_unlinked_is_not_locked_for_ever(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(3)
    drain(worker, 3)

    def lose_the_commit() -> None:
        raise redis.ConnectionError("reset")

    lab.wire.before[COMMIT].append(lose_the_commit)
    left = failing(errno.EIO, 1, lambda path: str(path).endswith(".tsv"), "unlink", monkeypatch)
    worker.rotate()
    for _ in range(3):
        look(lab, worker)
    assert left == []
    assert [len(data_files(lab.path, name)) for name in TYPES] == [2, 2, 2]
    assert [len(sealed_files(lab.path, name)) for name in TYPES] == [1, 1, 1]
