"""Commands in this process, and a partition in which something of everything stands, to be broken key by key."""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from tests.support.events import encode, make_event
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.cli import run
from worker.errors import ExitCode
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)
LETTER = "5-0"

#: Every key of the partition that stands while no worker runs, and what a lease is while one does.
NAMES = (*KEYS.streams.values(), *(str(key) for key in KEYS[1:-1]))

#: Commands that ask the server or look into the directory, each as it may be typed.
COMMANDS = (
    "status", "status --json", "status --check worker-1", "audit", "audit --json", "audit --deep",
    "find --rcpt a@b", "find --domain example.com", "find --job-id JOB-1.1", "find --domain example.com --json",
    "tail", "tail --json", "producers", "producers --json", "dead list", "dead list --json", f"dead show {LETTER}",
    f"dead show {LETTER} --json", f"dead retry {LETTER}", "dead retry --all", "dead drop --all --yes",
    "replay --from - --into {path}/out", "replay --from - --export -", "replay --from - --live --yes",
    "replay --from-archive dead --into {path}/out", "retire worker-1 nobody", "rotate --all", "tidy",
    "directory show", "directory show --json", "directory adopt",
    "verify {path}/files",
)  # fmt: skip

#: What may come of a command when something is broken: never a bug, never a traceback.
ENDS = frozenset({code.value for code in ExitCode} - {ExitCode.BUG.value} | {2})


class Done(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


class Lab:
    """A server on which a worker has worked, its directory, and the command line."""

    def __init__(self, valkey: RealValkey, path: Path) -> None:
        self.path = path
        self.url = valkey.url
        self.client: Any = valkey.client()
        self.ini = path / "accounting_files.ini"
        self.ini.write_text(f"path={path}/files\n[redis]\nsocket_timeout_seconds=5\n")
        self._work()
        self._kept = {key: self.client.dump(key) for key in self.client.keys("*")}

    def _work(self) -> None:
        """Let a worker write rows, leave an open file, a dead letter, pending and unread entries."""
        publisher = Publisher(self.client, PARTITION)
        worker = WorkerProcess(self.ini, self.url)
        worker.start()
        publisher.publish_some(3, per_batch=2)
        publisher.publish_bytes("bounce", 1, b"[{}]")
        wait_until(lambda: self.client.xlen(KEYS.dead) == 1, "a dead letter")
        worker.kill()
        self.client.delete(KEYS.lease("worker-1"))
        publisher.publish_some(6, per_batch=2)
        self.client.xreadgroup("accounting", "worker-1", dict.fromkeys(KEYS.streams.values(), ">"), count=1)
        self.client.hset(KEYS.nodes, "mx1-test", '{"at":1700000000000,"node":"mx1","published":4}')
        self.client.delete(KEYS.dead)
        fields = {"type": "bounce", "id": "1-0", "index": 0, "bytes": encode([make_event("bounce", 1)])[1:-1]}
        self.client.xadd(KEYS.dead, fields | {"error": "why", "n": 1}, id=LETTER)

    def restore(self) -> None:
        """Put everything back on the server."""
        self.client.flushall()
        for key, value in self._kept.items():
            self.client.restore(key, 0, value)

    def run(self, command: str, *options: str, url: str | None = None) -> Done:
        """Run a command in this process."""
        words = command.format(path=self.path).split()
        if words[0] not in {"tidy", "verify"}:
            options = ("--redis", url or self.url, *options)
        if words[0] != "verify":
            options = ("--config", str(self.ini), *options)
        return run_here([*words, *options])


def run_here(arguments: Sequence[str]) -> Done:
    """Run a command line in this process, its standard streams kept."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with (
        patch.object(sys, "argv", ["haraka-accounting", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run()
        out.flush()
    return Done(code, out.buffer.getvalue().decode(), err.getvalue())


def troubles(command: str, done: Done) -> Iterator[str]:
    """Yield what no command may do, whatever was broken."""
    if done.code not in ENDS:
        yield f"{command}: ended with {done.code}: {done.err}"
    if "Traceback" in done.out + done.err:
        yield f"{command}: a traceback: {done.err}"
    if "\x1b" in done.out + done.err:
        yield f"{command}: raw escapes: {done.out + done.err!r}"
    silent = "--check" in command or (command.startswith(("find", "retire")) and done.code == 1)  # nothing found
    if done.code and not done.err and not silent and not (done.out and done.code in {1, 74}):
        yield f"{command}: ended with {done.code} without a word"
