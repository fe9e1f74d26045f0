"""A real server for a benchmark: started on a free loopback port, stopped at the end."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from haraka.demo.waiting import free_port
from worker.server import BundledServer
from worker.settings import ServerSettings


class Valkey:
    """The bundled server, as a context."""

    def __init__(self, directory: Path) -> None:
        self._server = BundledServer(ServerSettings(directory=directory, port=free_port()))

    @property
    def url(self) -> str:
        """Return its URL."""
        return self._server.url  # by its socket

    def client(self) -> Any:
        """Return a client."""
        return redis.Redis.from_url(self.url, protocol=2, socket_timeout=60)

    def __enter__(self) -> Self:
        """Start it."""
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._server.stop()
