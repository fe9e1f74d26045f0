"""One connection to Redis, on which every request and every retry is ours and known.

redis-py's own retries are off (version 8 sends a command up to ten times more, scripts and XREADGROUP included), and
so is RESP3. Requests can be sent ahead of their replies; replies arrive in the order of the requests. After any error
the connection is closed: replies may be missing on it, and only the commit record can tell what ran.

An error names what it is about: the server tells neither the command nor, where a key has the wrong type, the key.
"""

import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.errors import StreamUnavailable
from worker.settings import StreamSettings
from worker.stream import refusal


class RedisConnection(Protocol):
    """What is used of redis-py's connection."""

    def connect(self) -> None: ...  # noqa: D102
    def disconnect(self) -> None: ...  # noqa: D102
    def send_command(self, *args: Any) -> None: ...  # noqa: ANN401, D102
    def read_response(self) -> Any: ...  # noqa: ANN401, D102


_BROKEN = (redis.RedisError, OSError, ssl.SSLError)

_WRONG_TYPE = "WRONGTYPE Operation"  # a server's own words; those of our scripts name the key
_NO_RIGHTS = ("ACL failure in script", "The user executing the script can't")  # in a script, since 7.2 and before


class Refused(StreamUnavailable):
    """The server answered a request with an error."""


Connector = Callable[[], RedisConnection]


def connector(settings: StreamSettings, url: str) -> Connector:
    """Return what opens connections to a server.

    Raises ValueError for a URL that redis-py does not understand.
    """
    secret = {"password": settings.password} if settings.password else {}
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}  # a Unix socket knows none
    pool = redis.ConnectionPool.from_url(
        url,
        **secret,
        **keepalive,
        protocol=2,
        socket_timeout=settings.socket_timeout_seconds,
        socket_connect_timeout=settings.socket_timeout_seconds,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        max_connections=2**31 - 1,  # it counts every one that it ever made, and stops at 100 by default
    )

    def connect() -> RedisConnection:
        # Made by hand, not taken from the pool: the pool would look at the connection, and reconnect it, behind us.
        connection: RedisConnection = pool.make_connection()
        for name in ("driver_info", "lib_name", "lib_version"):  # of redis-py 8, and before: what it tells of itself
            setattr(connection, name, None)  # needs a right that no user has, and two round trips
        return connection

    return connect


class Link:
    """Sends requests and receives replies on one connection; raises StreamUnavailable for whatever goes wrong."""

    def __init__(self, connect: Connector) -> None:
        self._connect = connect
        self._connection: RedisConnection | None = None
        self._asked: deque[Sequence[Any]] = deque()  # requests whose replies are still to come

    def open(self) -> None:
        """Connect anew."""
        self.close()
        connection: RedisConnection | None = None
        try:
            connection = self._connect()
            connection.connect()
        except (*_BROKEN, UnicodeError) as error:  # the latter for a host's name that cannot be one
            raise StreamUnavailable(_described(error, connection)) from error
        self._connection = connection

    def close(self) -> None:
        """Give the connection up; what was sent on it may still run."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
        self._asked.clear()

    def send(self, *request: Any) -> None:  # noqa: ANN401
        """Send a request; its reply is read later, in the order of the requests."""
        if self._connection is None:
            raise StreamUnavailable("not connected")
        try:
            self._connection.send_command(*request)
        except _BROKEN as error:
            trouble = _described(error, self._connection)
            self.close()
            raise StreamUnavailable(trouble) from error
        self._asked.append(request)

    def receive(self) -> Any:  # noqa: ANN401
        """Return the next reply, as Redis sent it: bytes, integers, None and lists of them.

        Raises Refused for an error reply; the connection can be used on.
        """
        if self._connection is None:
            raise StreamUnavailable("not connected")
        request = self._asked.popleft() if self._asked else ()
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            raise Refused(self._told(request, error)) from error
        except _BROKEN as error:
            trouble = _described(error, self._connection)
            self.close()
            raise StreamUnavailable(trouble) from error

    def call(self, *request: Any) -> Any:  # noqa: ANN401
        """Send a request and return its reply."""
        self.send(*request)
        return self.receive()

    def _told(self, request: Sequence[Any], error: redis.ResponseError) -> str:
        """Return an error reply with what it is about."""
        text = str(error)
        if not request:
            return text
        if _WRONG_TYPE in text and (misfits := self._misfits(refusal.keys_of(request))):
            return "; ".join(misfits)
        in_script = any(words in text for words in _NO_RIGHTS)
        lacks_rights = in_script or isinstance(error, redis.exceptions.NoPermissionError)
        return refusal.told(request, text, lacks_rights=lacks_rights)

    def _misfits(self, keys: Sequence[str]) -> list[str]:
        """Return which keys are not of their type, asked on a connection of its own: replies may be due on this one."""
        link = Link(self._connect)
        try:
            link.open()
            found = [(key, link.call("TYPE", key).decode("ascii", "replace")) for key in keys]
        except StreamUnavailable:
            return []
        finally:
            link.close()
        return [trouble for key, kind in found if (trouble := refusal.misfit(key, kind))]


def _described(error: BaseException, connection: RedisConnection | None) -> str:
    """Return an error with where the server is, as far as the error does not tell it."""
    text = f"{type(error).__name__}: {error}"
    host, port = getattr(connection, "host", ""), getattr(connection, "port", "")
    where = getattr(connection, "path", "") or (f"{host}:{port}" if host else "")
    return text if where in text else f"{where}: {text}"
