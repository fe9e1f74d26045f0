"""Locks that a process holds which is no worker: waits end, say who it is, and nobody goes on without the lock."""

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.loop.conftest import Lab, lab  # noqa: F401 - a fixture
from tests.server.test_command_line import write_ini
from tests.support.files import data_files, recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker import identity, locks
from worker.errors import DiskTrouble, ExitCode, Locked
from worker.janitor.lock import janitor_lock
from worker.locks import ConsumerLock

_HOLD = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
fcntl.flock(lock, fcntl.LOCK_EX)
{fork}
print("held", flush=True)
sys.stdin.read()
"""
_LEAVE_IT_TO_A_CHILD = "if os.fork(): os._exit(0)"


@contextmanager
def _held(path: Path, fork: str = "") -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock on a file, until its standard input ends."""
    command = [sys.executable, "-c", _HOLD.format(fork=fork), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait for a lock be short."""
    monkeypatch.setattr(locks, "PAUSES", 30)


@pytest.mark.usefixtures("short")
def test_who_keeps_the_lock_on_an_identity_is_told_and_the_start_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / ".accounting.id-lock"
    with _held(lock) as other:
        with pytest.raises(DiskTrouble, match=rf"{lock}: locked by process {other.pid} \(python.*, user .*\)"):
            identity.make(tmp_path, PARTITION)
        assert f"lock.waiting file={lock} held_by=" in caplog.text
    assert not (tmp_path / identity.NAME).exists()
    assert identity.make(tmp_path, PARTITION).partition == PARTITION


@pytest.mark.usefixtures("short")
def test_without_the_lock_on_names_no_file_is_made_and_rows_come_once_it_is_free(lab: Lab) -> None:  # noqa: F811
    worker = lab.worker()
    lab.publisher.publish_some(3)
    worker.step()
    before = data_files(lab.path, "delivered")
    lab.publisher.publish_some(3)
    with _held(lab.path / "delivered" / ".names.lock"):
        worker.rotate()
        with pytest.raises(DiskTrouble, match=r"\.names\.lock: locked by process \d+") as trouble:
            for _ in range(9):
                worker.step()
        assert data_files(lab.path, "delivered") == before
    assert worker.recover(trouble.value)
    for _ in range(9):
        worker.step()
    assert len(data_files(lab.path, "delivered")) == 2
    assert set(recipients_in(lab.path).values()) == {1}


@pytest.mark.parametrize("fork", ["", _LEAVE_IT_TO_A_CHILD], ids=["a process", "a child of a dead process"])
def test_a_lock_on_a_name_that_no_worker_took_is_no_worker_and_names_who_has_it(tmp_path: Path, fork: str) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / ".w1.lock").write_bytes(dead.stdout)
    with (
        _held(tmp_path / ".w1.lock", fork) as other,
        pytest.raises(Locked, match=r"held by process (\d+) .* is no worker") as told,
    ):
        ConsumerLock(tmp_path, "w1", "a holder")
    assert f"process {dead.stdout.decode().strip()}" not in str(told.value)
    assert (f"process {other.pid} " in str(told.value)) is not bool(fork)


def test_the_janitor_that_is_locked_out_names_who_has_the_lock_now(tmp_path: Path) -> None:
    (tmp_path / ".janitor").write_text("999999999\n")
    with (
        _held(tmp_path / ".janitor") as other,
        pytest.raises(Locked, match=rf"process {other.pid} \(python"),
        janitor_lock(tmp_path),
    ):
        pass


@pytest.mark.parametrize("name", [".w1.lock", ".janitor", ".accounting.id-lock", ".names.lock"])
def test_a_lock_file_of_an_earlier_version_is_closed_to_others(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    path.chmod(0o644)
    with locks.held(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    subprocess.run(["mkfifo", tmp_path / "lock"], check=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskTrouble, match="is no file"), locks.held(tmp_path / "lock"):
        pass
    with pytest.raises(OSError, match="symbolic links"), locks.held(tmp_path / "link"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["delivered/.names.lock", ".accounting.id-lock", ".janitor", ".worker-1.lock"])
def test_a_worker_that_meets_a_lock_of_somebody_else_stops_when_it_is_asked_to(
    valkey: RealValkey, tmp_path: Path, name: str
) -> None:
    ini = write_ini(tmp_path)
    worker = WorkerProcess(ini, valkey.url)
    worker.start()
    assert worker.stop() == 0
    Publisher(valkey.client(), PARTITION).publish_some(6)
    with _held(tmp_path / "files" / name) as other:
        worker.start(ready=False)
        wait_until(lambda: str(other.pid) in worker.log() or "worker.ready" in worker.log(), "who has the lock")
        if name != ".worker-1.lock":
            assert worker.stop() in {0, -signal.SIGTERM}
        else:
            assert worker.process.wait(30) == ExitCode.LOCKED
    worker.start()
    wait_until(lambda: sum(recipients_in(tmp_path / "files").values()) == 6, "rows")
    assert worker.stop() == 0
    assert set(recipients_in(tmp_path / "files").values()) == {1}
