"""The processes of a run: one server and some workers, started here, stopped here, whatever state they are in.

The workers have stable names. All but the last share one directory; the last has its own. Each process has a wall clock
of its own, and each worker an ini that can be another one at its next start.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from haraka.demo.waiting import free_port
from tests.support.servers import WorkerProcess, wait_until, want_no_password
from tests.support.wall_clock import WallClock
from worker.server import BundledServer
from worker.settings import ServerSettings

PARTITION: Final = "haraka:accounting"
SOCKET_TIMEOUT_SECONDS: Final = 1
LEASE_SECONDS: Final = 5  # the least that the configuration allows
_INI: Final = """\
path={path}
{top}
archiving=true
max_size=0.3
[redis]
socket_timeout_seconds={timeout}
block_ms=200
lease_seconds={lease}
batch_entries=4
{more}"""
_SHORT: Final = "type,rcpt,dsnStatus"
#: What stands at the top of an ini, and in sections of their own, at one start or another.
LAYOUTS: Final = (
    ("", ""),
    ("timezone=Asia/Kolkata", "[fields]\ndelivered=rcpt,jobId,type\n[archive_to]\nbounce=archive/2026\n"),
    ("format=csv\nextension=txt", f"[location]\ndeferred=waiting/room\n[fields]\nbounce={_SHORT}\n"),
    ("format=jsonl\nfilename={type}-{consumer}-{time}.{extension}", "[archive_to]\ndelivered=old\ndeferred=old\n"),
)


class State(Enum):
    """What a process is doing."""

    UP = auto()
    STALLED = auto()
    STOPPING = auto()
    DOWN = auto()


def _ini(path: Path, layout: int) -> str:
    top, more = LAYOUTS[layout]
    return _INI.format(path=path, timeout=SOCKET_TIMEOUT_SECONDS, lease=LEASE_SECONDS, top=top, more=more)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Give these variables to what is started meanwhile."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


class Server:
    """The bundled Valkey with `appendfsync always`, on a directory that survives its deaths."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._server = BundledServer(ServerSettings(directory=directory, port=self.port))
        self.clock = WallClock(_made(directory.with_name("server-clock")))
        self.state = State.DOWN
        self.lost_at = 0.0  # monotonic; when it forgot something last

    def client(self, timeout_seconds: float = 30) -> Any:
        """Return a client that goes around the proxy."""
        return redis.Redis(port=self.port, protocol=2, socket_timeout=timeout_seconds, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Start it, on what it has on its disk."""
        self._server = BundledServer(ServerSettings(directory=self._directory, port=self.port))
        with _environment(self.clock.environment):
            self._server.start()
            want_no_password(self._server)
        self.state = State.UP
        with suppress(redis.RedisError), self.client(2) as client:
            client.config_set("auto-aof-rewrite-percentage", 0)  # its file tells the history of every entry

    def length(self) -> tuple[Path, int]:
        """Return its append-only file and how long that is: what a replica that lags has, from now on."""
        file = max((self._directory / "appendonlydir").glob("*.incr.aof"), key=lambda each: each.stat().st_mtime)
        return file, file.stat().st_size

    def forget(self, known: tuple[Path, int] | None) -> bool:
        """Let it forget, while it is down, what came after a length, or everything; tells whether it did."""
        if known is None:
            shutil.rmtree(self._directory)
            return True
        file, length = known
        if not file.exists() or file.stat().st_size <= length:
            return False
        os.truncate(file, length)
        return True

    def signal(self, number: int, state: State) -> None:
        """Send it a signal."""
        process = self._server._process
        assert process is not None
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()
        self.state = state

    def stop(self) -> None:
        """End it, whatever it does."""
        process = self._server._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
        self._server.stop()
        self.state = State.DOWN


class Member:
    """A worker process under one name, through all its lives."""

    def __init__(self, name: str, home: Path, path: Path, port: int) -> None:
        self.name = name
        self.path = path
        self._home = home
        self._ini = home / f"{name}.ini"
        self.layout = 0  # that it has from its next start on
        self.spared_until = 0.0  # monotonic
        self.clock = WallClock(_made(home / f"{name}-clock"))
        self._configure()
        self._log = home / f"{name}.log"
        self._worker = WorkerProcess(self._ini, f"redis://127.0.0.1:{port}/0", name)
        self._worker.environment = self.clock.environment
        self.state = State.DOWN

    def start(self) -> None:
        """Start it; it is up before it is ready."""
        self._configure()
        self._worker.start(ready=False)
        self.state = State.UP

    def _configure(self) -> None:
        self._ini.write_text(_ini(self.path, self.layout))

    def in_a_copy(self, copy: Path, port: int) -> WorkerProcess:
        """Return a worker of the same name in a copy of its directory."""
        ini = self._home / f"{copy.name}.ini"
        ini.write_text(_ini(copy, self.layout))
        return WorkerProcess(ini, f"redis://127.0.0.1:{port}/0", self.name, log=ini.with_suffix(".log"))

    def is_ready(self) -> bool:
        """Tell whether it has said since its start that it is ready."""
        return "worker.ready" in self._worker.log()

    def is_alive(self) -> bool:
        return self._worker.is_alive()

    def exit_code(self) -> int | None:
        """Return its exit code once it has ended."""
        return self._worker.process.poll()

    def kill(self) -> None:
        self._worker.kill()
        self.state = State.DOWN

    def stop(self, patience_seconds: float) -> None:
        """Ask it to stop, and wait until it has."""
        self.signal(signal.SIGTERM, State.STOPPING)
        wait_until(lambda: not self.is_alive(), f"{self.name} stops", patience_seconds)
        self.state = State.DOWN

    def signal(self, number: int, state: State) -> None:
        """Send it a signal, if it is alive."""
        if self._worker.is_alive():
            os.kill(self._worker.process.pid, number)
        self.state = state

    def log(self) -> str:
        """Return the log of all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Fleet:
    """All the processes of a run; a context that leaves none behind."""

    def __init__(self, home: Path, workers: int) -> None:
        self.home = home
        self.server = Server(home / "valkey")
        self.names = [f"worker-{index + 1}" for index in range(workers)]
        self.paths = [home / "shared", home / "own"]
        self.members: list[Member] = []
        self.losses = 0  # how often the server forgot something

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            member.kill()
        self.server.stop()

    def staff(self, ports: dict[str, int]) -> None:
        """Start the workers, each through its own port."""
        for name in self.names:
            path = self.paths[-1] if name == self.names[-1] else self.paths[0]
            self.members.append(Member(name, self.home, path, ports[name]))
            self.members[-1].start()
