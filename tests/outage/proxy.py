"""A TCP proxy in front of the server, with the faults of a network: lost replies, resets in the middle of a request."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Self, TypeVar

T = TypeVar("T")

READ_BYTES = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing sends RST, and what is under way is thrown away


class Mode(Enum):
    """What becomes of requests and replies."""

    PASS = auto()
    SWALLOW = auto()  # requests arrive and are executed, replies do not come back
    DROP = auto()  # nothing arrives on either side, and nobody is told: a connection that is half open
    RESET = auto()  # in turn: half a request arrives, or all of it, then the connection is reset


class Proxy:
    """The proxy, with an event loop in a thread of its own."""

    def __init__(self, server_port: int, port: int) -> None:
        self.port, self.server_port, self.mode = port, server_port, Mode.PASS
        self.faults = 0
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()  # one for each client
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _end(self) -> None:
        """Drop every connection; those that served one end by themselves then, and leave no socket behind."""
        if self._server is not None:
            self._server.close()
        while self._tasks:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.wait(self._tasks, timeout=0.1)
        await asyncio.sleep(0)  # transports close in the next round

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        with suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
            self._writers.add(server_writer)
            await self._join(reader, writer, server_reader, server_writer)
        writer.close()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        async def request(data: bytes) -> None:
            if self.mode in {Mode.PASS, Mode.SWALLOW}:
                server_writer.write(data)
                return
            self.faults += 1
            if self.mode is Mode.DROP:
                return
            server_writer.write(data if self.faults % 2 else data[: len(data) // 2])
            await server_writer.drain()
            _reset(writer)

        async def reply(data: bytes) -> None:
            if self.mode is Mode.PASS:
                writer.write(data)
            else:
                self.faults += 1

        ways = [asyncio.ensure_future(_pump(reader, request)), asyncio.ensure_future(_pump(server_reader, reply))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            server_writer.close()


async def _pump(reader: asyncio.StreamReader, take: Callable[[bytes], Awaitable[None]]) -> None:
    with suppress(OSError):
        while data := await reader.read(READ_BYTES):
            await take(data)


def _reset(writer: asyncio.StreamWriter) -> None:
    transport_socket = writer.get_extra_info("socket")
    with suppress(OSError):
        transport_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
