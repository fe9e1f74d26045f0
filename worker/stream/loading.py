"""Waiting for a server that has just started and is loading its data: it refuses everything until it has them."""

import time
from collections.abc import Callable

import redis

from worker.stream.keys import Keys
from worker.stream.link import Connector, RedisConnection

_POLL_SECONDS = 0.1


def patient(connect: Connector, partition: str, patience_seconds: float, tell: Callable[[], None]) -> Connector:
    """Return a connector whose connections are used once the server has its data, or after so many seconds.

    `tell` is called once where there is something to wait for.
    """
    key = Keys.of(partition).epoch

    def connect_patiently() -> RedisConnection:
        return _Patient(connect(), key, patience_seconds, tell)

    return connect_patiently


class _Patient:
    """A connection that asks for something before it is used."""

    def __init__(
        self, connection: RedisConnection, key: str, patience_seconds: float, tell: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._key = key
        self._patience_seconds = patience_seconds
        self._tell = tell
        self.host = getattr(connection, "host", "")
        self.port = getattr(connection, "port", "")
        self.path = getattr(connection, "path", "")
        self.disconnect = connection.disconnect
        self.send_command = connection.send_command
        self.read_response = connection.read_response

    def connect(self) -> None:
        """Connect, and wait while the server is loading. Raises what redis-py raises."""
        end: float | None = None
        while True:
            self._connection.connect()
            try:
                self._connection.send_command("EXISTS", self._key)
                self._connection.read_response()
            except redis.BusyLoadingError:
                if end is None:
                    self._tell()
                    end = time.monotonic() + self._patience_seconds
                self._connection.disconnect()
                if time.monotonic() > end:
                    raise
                time.sleep(_POLL_SECONDS)
            except redis.ResponseError:  # no rights, another node of a cluster: for the request itself to find out
                return
            else:
                return
