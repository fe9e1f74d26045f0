"""Haraka with the plugin, a real server, a sink and mail that keeps coming: no worker, the streams are what is read."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from redis.backoff import ConstantBackoff
from redis.exceptions import BusyLoadingError
from redis.retry import Retry

from haraka.demo.accounting import TAGS
from haraka.demo.instance import PLUGIN, Instance, Settings
from haraka.demo.record import Transaction, read_reply
from haraka.demo.sink import Sink
from haraka.demo.waiting import free_port, wait_until
from tests.outage.proxy import Proxy
from tests.outage.pulse import Pulse
from tests.outage.traffic import Traffic
from tests.support.servers import RealValkey

PATIENCE_SECONDS = 120.0
KEY = "{haraka:accounting}"
LOADING_RETRIES = 600  # a tenth of a second apart
UNFINISHED = "__tmp__."  # begins the name of a queue file that Haraka still writes


class Said(NamedTuple):
    """What one recipient was answered once, or one event says of it."""

    orig: str
    rcpt: str
    type: str
    attempt: int


@dataclass(frozen=True)
class Setup:
    """What a laboratory is like."""

    nodes: int = 0
    accounting: Mapping[str, str] = field(default_factory=dict)  # of accounting_stream.ini
    others: Mapping[str, str] = field(default_factory=dict)  # further configuration files
    plugins: Mapping[str, Path] = field(default_factory=dict)  # further ones, behind accounting: name → file
    has_server: bool = True  # when Haraka starts


class Lab:
    """Everything that runs, in one directory; leaving the context stops all of it."""

    def __init__(self, directory: Path, setup: Setup) -> None:
        self.valkey = RealValkey(directory / "valkey")
        self.proxy = Proxy(self.valkey.settings.port, free_port())
        self.detour = Proxy(self.valkey.settings.port, free_port())
        self.sink = Sink(free_port())
        self.pulse = Pulse(directory)
        self._has_server, self._plugins = setup.has_server, setup.plugins
        settings = Settings(
            smtp_port=free_port(),
            sink_port=self.sink.port,
            redis_port=self.proxy.port,
            nodes=setup.nodes,
            # Bounce messages have no sender, and so nothing that they could be told apart by.
            accounting={"suppress_dsn": "true", **setup.accounting},
            others=setup.others,
            plugins=(PLUGIN, *setup.plugins),
        )
        self.haraka = Instance(directory / "haraka", settings)
        self.traffic = Traffic(settings.smtp_port)
        self.most_spooled = 0  # files seen at once
        self.repeated: set[tuple[str, str]] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            parts: list[AbstractContextManager[Any]] = [self.valkey, self.proxy, self.detour, self.sink, self.pulse]
            for each in parts:
                stack.enter_context(each)
            if not self._has_server:
                self.valkey.kill()
            self.haraka.make(self._plugins)
            stack.callback(self.haraka.stop)
            self.haraka.start()
            stack.enter_context(self.traffic)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition while Haraka lives."""

        def holds() -> bool:
            self.haraka.check()
            return condition()

        wait_until(holds, what, PATIENCE_SECONDS)

    def wait_for_mail(self, messages: int) -> None:
        """Wait until so many more messages have come in and so many more recipients were answered."""
        taken, answered = len(self.traffic.taken) + messages, len(self.sink.record.transactions()) + messages
        self.wait(
            lambda: len(self.traffic.taken) >= taken and len(self.sink.record.transactions()) >= answered,
            f"{messages} more messages",
        )

    def spooled(self) -> list[Path]:
        """Return the spool files with something in them."""
        files = [file for file in (self.haraka.directory / "accounting_spool").rglob("*.spool*") if _has_bytes(file)]
        self.most_spooled = max(self.most_spooled, len(files))
        return files

    def kill_haraka(self) -> None:
        """SIGKILL it, and remember whose answers it had no time to note: those recipients it delivers again."""
        self.haraka.kill()
        wait_until(_is_still(lambda: len(self.sink.record.transactions())), "the sink's last words", PATIENCE_SECONDS)
        answered = Counter((said.orig, said.rcpt) for said in said_by_sink(self.sink.record.transactions()).elements())
        for name in self.haraka.queued():
            if name.startswith(UNFINISHED):  # not written to its end, so nobody was told that it is queued
                continue
            orig, rcpts = _envelope(self.haraka.queue / name)
            noted = int(name.split("_")[2])
            self.repeated.update((orig, rcpt) for rcpt in rcpts if answered[orig, rcpt] > noted)

    def finish(self) -> None:
        """Wait until all mail is dealt with and the spool is drained, then stop Haraka."""
        self.traffic.stop()
        self.wait(lambda: not self.haraka.queued(), "an empty queue")
        # Every hook was let go, so what is not in a stream is on disk.
        self.wait(lambda: not self.spooled(), "an empty spool")
        self.haraka.stop()

    def client(self) -> Any:
        """Return a client of the server, which waits for one that still reads its data after a restart."""
        client = self.valkey.client()
        client.set_retry(Retry(ConstantBackoff(0.1), LOADING_RETRIES, supported_errors=(BusyLoadingError,)))
        return client

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield every event of the streams."""
        with self.client() as client:
            for name in TAGS:
                for _, entry in client.xrange(f"{KEY}:{name}"):
                    yield from json.loads(entry[b"events"])

    def counted(self, name: str) -> int:
        """Return the sum of a counter over what the processes say of themselves."""
        with self.client() as client:
            return sum(json.loads(note)[name] for note in client.hvals(f"{KEY}:nodes"))


def said_by_events(events: list[dict[str, Any]]) -> Counter[Said]:
    """Return what the events say, one for each recipient."""
    return Counter(
        Said(event["orig"], rcpt["rcpt"], event["type"], event["attempts"])
        for event in events
        for rcpt in event["rcpts"]
    )


def said_by_sink(transactions: tuple[Transaction, ...]) -> Counter[Said]:
    """Return what the sink answered; an attempt is counted by the temporary refusals before it, as Haraka does."""
    said: Counter[Said] = Counter()
    deferrals: Counter[tuple[str, str]] = Counter()
    for transaction in transactions:
        for rcpt, at_rcpt in transaction.rcpts:
            reply = read_reply(at_rcpt if not at_rcpt.startswith("2") else transaction.last_said)
            assert reply is not None
            tag = {"2": "d", "4": "df", "5": "b"}[reply.code[0]]
            said[Said(transaction.orig, rcpt, tag, deferrals[transaction.orig, rcpt] + 1)] += 1
            deferrals[transaction.orig, rcpt] += tag == "df"
    return said


def _envelope(file: Path) -> tuple[str, list[str]]:
    """Read sender and recipients from a queue file: JSON behind four bytes of its length."""
    content = file.read_bytes()
    todo = json.loads(content[4 : 4 + int.from_bytes(content[:4], "big")])
    return _bare(todo["mail_from"]), [_bare(rcpt) for rcpt in todo["rcpt_to"]]


def _bare(address: Mapping[str, str]) -> str:
    return address["original"].strip("<>")


def _is_still(count: Callable[[], int]) -> Callable[[], bool]:
    """Give a condition: this number has not changed for a second."""
    seen, since = count(), time.monotonic()

    def holds() -> bool:
        nonlocal seen, since
        if count() != seen:
            seen, since = count(), time.monotonic()
        return time.monotonic() - since > 1

    return holds


def _has_bytes(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
