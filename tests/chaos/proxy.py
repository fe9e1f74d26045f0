"""A TCP proxy between the server and those who use it, which can do to a connection what networks do.

One listener for each worker and one for the publishers. It runs on an event loop in a thread of its own; faults are
armed from outside and happen at the next request or reply of a connection, so in the middle of something.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

_CHUNK = 65_536
_ENTRY = b"\r\nevents\r\n"  # what every reply with entries holds
_PATIENCE_SECONDS = 20.0


class Fault(StrEnum):
    """What can happen to a connection."""

    CUT = "cut"  # reset now
    HALF_REQUEST = "half_request"  # half of the next request arrives, then a reset
    HALF_REPLY = "half_reply"  # half of the next reply arrives, then a reset
    LOSE_REPLY = "lose_reply"  # a reset instead of the next reply: what was asked has been done
    SWALLOW = "swallow"  # no reply any more, and no reset: only a timeout notices
    HOLD = "hold"  # the next request arrives late, even when its sender has given up


_AT_REQUEST = frozenset({Fault.HALF_REQUEST, Fault.HOLD})


class _Connection:
    """Two streams and the fault that waits for them."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.fault: Fault | None = None
        self.seconds = 0.0

    def reset(self) -> None:
        """Drop both sides at once; the client sees a reset."""
        for side in (self.client, self.server):
            raw = side.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.transport.abort()


class Proxy:
    """Listeners on 127.0.0.1 that all lead to one port; a context."""

    def __init__(self, server_port: int, names: Sequence[str]) -> None:
        self._server_port = server_port
        self._names = names
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._live: dict[str, list[_Connection]] = defaultdict(list)
        self._deliveries: dict[str, tuple[int, float, Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server] = []
        self.ports: dict[str, int] = {}
        self.happened: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def arm(self, name: str, fault: Fault, seconds: float = 0.0) -> bool:
        """Let a fault happen to the connections of a listener; False where it has none without a fault."""

        async def arm() -> bool:
            found = [connection for connection in self._live[name] if connection.fault is None]
            for connection in found:
                if fault is Fault.CUT:
                    self._strike(connection, fault)
                    connection.reset()
                else:
                    connection.fault, connection.seconds = fault, seconds
            return bool(found)

        return bool(self._call(arm()))

    def at_delivery(
        self, name: str, do: Callable[[], None], *, after: int, delay_seconds: float, patience_seconds: float
    ) -> bool:
        """Do something when entries come for a listener, without a delay even before they are passed on.

        The first so many deliveries go by. Returns once it is done; False, without doing it, where none come in time.
        """
        done = threading.Event()

        def do_it() -> None:
            do()
            done.set()

        async def forget() -> bool:
            return self._deliveries.pop(name, None) is not None

        self._deliveries[name] = (after, delay_seconds, do_it)
        if not done.wait(patience_seconds) and self._call(forget()):
            return False
        done.wait()
        return True

    # On the event loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)

    async def _listen(self) -> None:
        for name in self._names:

            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name) -> None:
                task = asyncio.current_task()
                if task is not None:
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                await self._serve(name, reader, writer)

            listener = await asyncio.start_server(accept, "127.0.0.1", 0)
            self._listeners.append(listener)
            self.ports[name] = int(listener.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in the next round

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, server_writer)
        self._live[name].append(connection)
        requests = asyncio.ensure_future(self._requests(reader, connection))
        replies = asyncio.ensure_future(self._replies(name, server_reader, connection))
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.gather(requests, replies)
        finally:
            requests.cancel()
            replies.cancel()
            self._live[name].remove(connection)
            writer.transport.abort()
            server_writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        """Pass requests on. What a client sent before it went away arrives all the same."""
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                fault = self._due(connection, at_request=True)
                if fault is Fault.HOLD:
                    await asyncio.sleep(connection.seconds)
                elif fault is Fault.HALF_REQUEST:
                    data = data[: len(data) // 2]
                if connection.server.is_closing():
                    return
                connection.server.write(data)
                await connection.server.drain()
                if fault is Fault.HALF_REQUEST:
                    await asyncio.sleep(0)
                    connection.reset()
                    return
        with suppress(OSError):
            if not connection.server.is_closing():
                connection.server.write_eof()

    async def _replies(self, name: str, reader: asyncio.StreamReader, connection: _Connection) -> None:
        """Pass replies back until the server closes; without a client they go nowhere."""
        silent = False
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                fault = self._due(connection, at_request=False)
                silent = silent or fault is Fault.SWALLOW
                if silent or connection.client.is_closing():
                    continue
                if fault is Fault.HALF_REPLY:
                    connection.client.write(data[: len(data) // 2])
                    connection.client.close()
                elif fault is Fault.LOSE_REPLY:
                    connection.reset()
                    return
                else:
                    self._see(name, data)
                    connection.client.write(data)
                    await connection.client.drain()
        connection.client.close()

    def _see(self, name: str, reply: bytes) -> None:
        """Do what is to be done when entries come."""
        if _ENTRY not in reply or name not in self._deliveries:
            return
        after, delay_seconds, do = self._deliveries.pop(name)
        if after:
            self._deliveries[name] = (after - 1, delay_seconds, do)
        elif delay_seconds:
            self._loop.call_later(delay_seconds, do)
        else:
            do()

    def _due(self, connection: _Connection, *, at_request: bool) -> Fault | None:
        """Return the fault that happens here, if one waits for it."""
        fault = connection.fault
        if fault is None or (fault in _AT_REQUEST) != at_request:
            return None
        self._strike(connection, fault)
        return fault

    def _strike(self, connection: _Connection, fault: Fault) -> None:
        self.happened[fault] += 1
        connection.fault = None
