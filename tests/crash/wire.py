"""The server of the simulation: fakeredis behind connections that lose replies, and deliver requests late.

Where fakeredis differs from a server, and what is done about it: a read with BLOCK would block the whole simulation,
so BLOCK is left out: the read is one operation that finds what is there when it is let through, and one that finds
nothing ends the worker's turn. Time is the simulation's, by `time.time`. Scripts need no change. Requests are handed
to fakeredis as they are, not as bytes of the protocol, which would take as long again as most of them.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import fakeredis
import redis
from fakeredis import FakeServer

from tests.crash.process import Process
from tests.crash.witness import Commit, Witness
from worker.stream.script import Script

#: Requests at which a process can be interrupted; the others only set up what is there already.
OPERATIONS = {"EVALSHA", "XREADGROUP", "XPENDING", "XCLAIM", "EXISTS", "HGET", "HINCRBY"}

NOTHING_TO_READ = "nothing to read"  # where an idle worker stands

NAMES = (
    "register",
    "commit",
    "lease",
    "read_alone",
    "forgive",
    "set_aside",
    "take_over",
    "seize",
    "forget",
    "retire",
    "arrive",
    "hand_in",
    "put_back",
)
SCRIPTS = {Script(name).sha: name for name in NAMES}


class Wire:
    """One server, the connections to it, and the requests that are still on their way to it."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self.server = FakeServer()
        self.client: Any = fakeredis.FakeRedis(server=self.server, protocol=2)
        self.tell = tell
        self.late: list[tuple[Process, list[tuple[Any, ...]]]] = []  # of each dropped connection: process, requests
        self.witness: Witness | None = None  # hears what is done, where the server may forget
        self.generation = 0  # of the server's process
        self._snapshot: Any = None

    def connect(self, process: Process) -> "SimulatedConnection":
        """Open a connection for a process."""
        return SimulatedConnection(self, process)

    def plain(self) -> Any:
        """Open a connection on which nothing goes wrong."""
        return fakeredis.FakeRedisConnection(server=self.server, protocol=2, retry=None, health_check_interval=0)

    def deliver(self, number: int) -> None:
        """Let the next request of one of the dropped connections arrive."""
        if not self.late:
            return
        process, requests = self.late[number % len(self.late)]
        request = requests.pop(0)
        self.tell("late from", process.name, Words(request))
        self.late = [each for each in self.late if each[1]]
        raw = self.plain()
        raw.send_command(*request)
        try:
            self.hears(process, request, raw.read_response())
        except redis.RedisError as error:
            self.tell("  answered", error)
        raw.disconnect()

    def hears(self, process: Process, request: tuple[Any, ...], reply: object) -> list[Commit]:
        """Tell the witness what was done; returns the commits of which the reply tells."""
        return self.witness.hears(process, request, reply) if self.witness else []

    def save(self) -> None:
        """Keep what the server holds now."""
        self._snapshot = copy.deepcopy(self.server.dbs[0]._dict)
        if self.witness:
            self.witness.saved()

    def forget(self, *, everything: bool, restarts: bool) -> bool:
        """Let the server hold what it held when it was saved, or nothing; False where it was never saved.

        With a restart it is another process, and every connection breaks; without one (FLUSHALL, DEBUG RELOAD) the
        connections stay, and nobody is told.
        """
        if self._snapshot is None and not everything:
            return False
        if restarts:
            self.generation += 1
            self.late.clear()
        stored = self.server.dbs[0]
        stored._dict.clear()
        if not everything:
            stored._dict.update(copy.deepcopy(self._snapshot))
        if self.witness:
            self.witness.forgot(everything=everything)
        return True


class Reply(NamedTuple):
    """What becomes of the reply to a request."""

    arrives: bool = True
    waits: bool = False  # the server would wait with it while there is nothing to read
    tells_of: Sequence[Commit] = ()


class SimulatedConnection(fakeredis.FakeRedisConnection):
    """A connection whose requests are operations, and meet the fault that the simulation has in store."""

    def __init__(self, wire: Wire, process: Process) -> None:
        super().__init__(server=wire.server, protocol=2, retry=None, health_check_interval=0)
        self._wire = wire
        self._process = process
        self._generation = wire.generation
        self._late: list[tuple[Any, ...]] | None = None
        self._replies: list[Reply] = []  # of the requests sent

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        request = _without_block(args)
        fault = None
        if counts := _can_be_interrupted(request):
            self._process.tick(Words(request))
            fault, self._process.fault = self._process.fault, None
            self._wire.tell(self._process.name, Words(request), f"({fault})" if fault else "")
        if self._generation != self._wire.generation:
            self._replies.append(Reply(arrives=False))
            return
        if fault == "late" and self._late is None:
            self._late = []
            self._wire.late.append((self._process, self._late))
        if self._late is not None:
            self._late.append(request)
            self._replies.append(Reply(arrives=False))
        else:
            socket: Any = self._sock
            socket._process_command([_encoded(part) for part in request])
            commits = self._wire.hears(self._process, request, socket.responses.queue[-1])
            self._replies.append(Reply(arrives=fault is None, waits="BLOCK" in args, tells_of=commits))
        if counts:
            self._process.tick(Words(request, "reply of "))

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        reply = self._replies.pop(0) if self._replies else Reply()
        if not reply.arrives or self._generation != self._wire.generation:
            self.disconnect()
            raise redis.ConnectionError("reply lost")
        response = super().read_response(*args, **kwargs)
        if self._wire.witness:
            self._wire.witness.learns(self._process, reply.tells_of)
        if reply.waits and not response:
            self._process.wait(NOTHING_TO_READ)
        return response


def _encoded(part: object) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


def _can_be_interrupted(request: tuple[Any, ...]) -> bool:
    """Tell whether others may come before and after a request; setting up what is there already is no such one."""
    return request[0] in OPERATIONS and (request[0] != "EXISTS" or ":lease:" in str(request[1]))


def _without_block(request: tuple[Any, ...]) -> tuple[Any, ...]:
    if "BLOCK" not in request:
        return request
    at = request.index("BLOCK")
    return request[:at] + request[at + 2 :]


class Words(NamedTuple):
    """A request as a trace shows it; put into words only where somebody looks."""

    request: tuple[Any, ...]
    prefix: str = ""

    def __str__(self) -> str:
        words = [part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in self.request]
        if words[0] == "EVALSHA":
            words = [SCRIPTS.get(words[1], "publish"), *words[3 + int(words[2]) :]]
        return self.prefix + " ".join(word.replace("{haraka:accounting}:", "") for word in words)[:400]
