"""One connection to Redis, on which every request and every retry is ours and known.

redis-py's own retries are off (version 8 sends a command up to ten times more, scripts and XREADGROUP included), and
so is RESP3. Requests can be sent ahead of their replies; replies arrive in the order of the requests. After any error
the connection is closed: replies may be missing on it, and only the commit record can tell what ran.
"""

import ssl
from collections.abc import Callable
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.errors import StreamUnavailable
from worker.settings import StreamSettings


class RedisConnection(Protocol):
    """What is used of redis-py's connection."""

    def connect(self) -> None: ...  # noqa: D102
    def disconnect(self) -> None: ...  # noqa: D102
    def send_command(self, *args: Any) -> None: ...  # noqa: ANN401, D102
    def read_response(self) -> Any: ...  # noqa: ANN401, D102


class Refused(StreamUnavailable):
    """The server answered a request with an error."""


Connector = Callable[[], RedisConnection]


def connector(settings: StreamSettings, url: str) -> Connector:
    """Return what opens connections to a server.

    Raises ValueError for a URL that redis-py does not understand.
    """
    secret = {"password": settings.password} if settings.password else {}
    pool = redis.ConnectionPool.from_url(
        url,
        **secret,
        protocol=2,
        socket_timeout=settings.socket_timeout_seconds,
        socket_connect_timeout=settings.socket_timeout_seconds,
        socket_keepalive=True,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        max_connections=2**31 - 1,  # it counts every one that it ever made, and stops at 100 by default
    )

    def connect() -> RedisConnection:
        # Made by hand, not taken from the pool: the pool would look at the connection, and reconnect it, behind us.
        connection: RedisConnection = pool.make_connection()
        return connection

    return connect


class Link:
    """Sends requests and receives replies on one connection; raises StreamUnavailable for whatever goes wrong."""

    def __init__(self, connect: Connector) -> None:
        self._connect = connect
        self._connection: RedisConnection | None = None

    def open(self) -> None:
        """Connect anew."""
        self.close()
        try:
            connection = self._connect()
            connection.connect()
        except (redis.RedisError, OSError, ssl.SSLError) as error:
            raise StreamUnavailable(_describe(error)) from error
        self._connection = connection

    def close(self) -> None:
        """Give the connection up; what was sent on it may still run."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def send(self, *request: Any) -> None:  # noqa: ANN401
        """Send a request; its reply is read later, in the order of the requests."""
        if self._connection is None:
            raise StreamUnavailable("not connected")
        try:
            self._connection.send_command(*request)
        except (redis.RedisError, OSError) as error:
            self.close()
            raise StreamUnavailable(_describe(error)) from error

    def receive(self) -> Any:  # noqa: ANN401
        """Return the next reply, as Redis sent it: bytes, integers, None and lists of them.

        Raises Refused for an error reply; the connection can be used on.
        """
        if self._connection is None:
            raise StreamUnavailable("not connected")
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            raise Refused(_describe(error)) from error
        except (redis.RedisError, OSError) as error:
            self.close()
            raise StreamUnavailable(_describe(error)) from error

    def call(self, *request: Any) -> Any:  # noqa: ANN401
        """Send a request and return its reply."""
        self.send(*request)
        return self.receive()


def _describe(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, redis.ResponseError) else f"{type(error).__name__}: {text}"
