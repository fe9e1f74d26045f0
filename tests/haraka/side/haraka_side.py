"""One Haraka with its sink, with the plugin and a real server or without both, and what was seen of it.

Beside it stand other plugins with hooks of the same kind (plugins/others.js), listed before and after accounting.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from haraka.demo.instance import NODE_MODULES, PLUGIN, Instance, Settings
from haraka.demo.messages import Message
from haraka.demo.record import Transaction
from haraka.demo.script import Stage
from haraka.demo.sender import send
from haraka.demo.sink import OnReply, Sink
from haraka.demo.waiting import free_port, wait_until
from tests.support.servers import RealValkey

PLUGINS: Final = Path(__file__).parent / "plugins"
_FINISHED: Final = re.compile(r"\d+_\d+_\d+_")  # begins the name of a queue file that Haraka has written
PATIENCE_SECONDS: Final = 180.0
QUIET_SECONDS: Final = 3.0
SHUTDOWN_SECONDS: Final = 3
KEY: Final = "{haraka:accounting}"

_WORKER_ENDED: Final = re.compile(r"worker \d+ exited with error code: (\d+)")
#: What differs between any two runs: ids, instants, names of queue files, boundaries.
_ACCIDENTAL: Final = (
    (re.compile(r"\d{13}_\d{13}_\d+_\d+_\w+_\d+_[\w.\\-]+"), "FILE"),
    (re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(\.\d+)*"), "ID"),
    (re.compile(r"Haraka \d+ invoked"), "Haraka invoked"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "DATE"),
)


#: Sender, recipients with the replies to them, stage and reply that ended the transaction, content of a bounce message.
Answer = tuple[str, tuple[tuple[str, str], ...], tuple[str, str] | None, str]


class Seen(NamedTuple):
    """What became of the mail, as anybody outside of accounting sees it."""

    stops: tuple[int | None, ...]  # codes of graceful stops; None where it did not run any more
    exits: tuple[int, ...]  # codes with which Haraka, or a worker process of it, ended by itself
    answers: Counter[Answer]  # transactions of the sink; of bounce messages the content too
    hooks: Counter[str]  # calls that other plugins saw, with what they were told
    left: Counter[int]  # queue files that are left, by their number of failures


@dataclass(frozen=True)
class Kind:
    """How the Haraka of a case is set up, with and without accounting."""

    nodes: int = 0
    suppress_dsn: bool = False
    accounting: dict[str, str] = field(default_factory=dict)  # of accounting_stream.ini
    packages: Path = NODE_MODULES
    plugins: tuple[str, ...] = ()  # further ones of plugins/, before all others
    retry_seconds: tuple[int, ...] = (5,)


class Side:
    """A Haraka with its sink; leaving the context stops all of it."""

    def __init__(self, directory: Path, kind: Kind, *, has_plugin: bool) -> None:
        self.kind, self.has_plugin = kind, has_plugin
        self.on_reply: OnReply = lambda *_: None
        self.sink = Sink(free_port(), on_reply=self._replying)
        self.valkey = RealValkey(directory / "valkey") if has_plugin else None
        self.haraka = Instance(directory / "haraka", self._settings(), kind.packages)
        self._exits: list[int] = []
        self._stops: list[int | None] = []
        self._stack = ExitStack()

    def _replying(self, orig: str, rcpts: tuple[tuple[str, str], ...], stage: Stage) -> None:
        self.on_reply(orig, rcpts, stage)

    def _settings(self) -> Settings:
        accounting = dict(self.kind.accounting)
        plugins: tuple[str, ...] = ("others_before", "others_after")
        if self.has_plugin:
            plugins = ("others_before", PLUGIN, "others_after")
            accounting |= {"suppress_dsn": str(self.kind.suppress_dsn).lower()}
        elif self.kind.suppress_dsn:
            plugins = (*plugins, "no_bounce")
        return Settings(
            smtp_port=free_port(),
            sink_port=self.sink.port,
            redis_port=self.valkey.settings.port if self.valkey else 1,
            nodes=self.kind.nodes,
            retry_seconds=self.kind.retry_seconds,
            accounting=accounting,
            shutdown_seconds=SHUTDOWN_SECONDS,
            plugins=(*self.kind.plugins, *plugins),
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.valkey:
                stack.enter_context(self.valkey)
            stack.enter_context(self.sink)
            others = dict.fromkeys(("others_before", "others_after"), PLUGINS / "others.js")
            named = {name: PLUGINS / f"{name}.js" for name in ("no_bounce", *self.kind.plugins)}
            self.haraka.make({**others, **named})
            stack.callback(self.haraka.stop)
            self.haraka.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Hand messages to Haraka."""
        send(messages, self.haraka.settings.smtp_port)

    def restart(self) -> None:
        """Start it again, after a graceful stop where it has not ended by itself."""
        self.stop()
        self.haraka.start()

    def stop(self) -> None:
        """Stop it gracefully where it has not ended by itself."""
        code = self.haraka.exit_code
        if code is not None:
            self._exits.append(code)
        stopped = self.haraka.stop(PATIENCE_SECONDS)
        self._stops.append(None if code is not None else stopped)

    def seen(self) -> Seen:
        """Return what is seen up to now."""
        code = self.haraka.exit_code
        workers = _WORKER_ENDED.findall(self.haraka.log())
        return Seen(
            stops=tuple(self._stops),
            exits=(*self._exits, *((code,) if code is not None else ()), *map(int, workers)),
            answers=Counter(self._answer(transaction) for transaction in self.sink.record.transactions()),
            hooks=Counter(self._plain(line) for line in self._hooks()),
            left=Counter(int(name.split("_")[2]) for name in self._queued() if self._has_bytes(name)),
        )

    def wait_until_quiet(self) -> None:
        """Return once nothing has happened for a while, and nothing is going to: no retry is due any more."""
        last, since = self.seen(), time.monotonic()

        def is_quiet() -> bool:
            nonlocal last, since
            now = self.seen()
            if now != last or (now.left and not now.exits and self._is_retry_due()):
                last, since = now, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS

        wait_until(is_quiet, "the end of all that Haraka does", PATIENCE_SECONDS)

    def events(self) -> list[dict[str, Any]]:
        """Return every event that is in the streams."""
        assert self.valkey is not None
        with self.valkey.client() as client:
            entries = [
                fields for name in ("delivered", "deferred", "bounce") for _, fields in client.xrange(f"{KEY}:{name}")
            ]
        return [event for fields in entries for event in json.loads(fields[b"events"])]

    def _is_retry_due(self) -> bool:
        """Whether a retry is still to come, or has come a moment ago; its instant stands second in the name."""
        recently = (time.time() - QUIET_SECONDS) * 1000
        return any(int(name.split("_")[1]) > recently for name in self._queued())

    def _queued(self) -> list[str]:
        return [name for name in self.haraka.queued() if _FINISHED.match(name)]

    def _has_bytes(self, name: str) -> bool:
        """Whether there is a message in a queue file: on a full disk Haraka leaves an empty one now and then."""
        with suppress(FileNotFoundError):
            return (self.haraka.queue / name).stat().st_size > 0
        return False

    def _hooks(self) -> list[str]:
        log = self.haraka.directory / "hooks.ndjson"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def _answer(self, transaction: Transaction) -> Answer:
        content = "" if transaction.orig else self._plain(transaction.content.decode("utf-8", "replace"))
        return transaction.orig, transaction.rcpts, transaction.verdict, content

    def _plain(self, text: str) -> str:
        text = text.replace(str(self.haraka.directory), "HARAKA").replace(str(self.sink.port), "PORT")
        for pattern, word in _ACCIDENTAL:
            text = pattern.sub(word, text)
        return text
