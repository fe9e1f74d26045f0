"""Haraka on a busy machine: it starts with a backlog, and is killed under load. Redis answers all the while.

The machine is busy with other things, and Haraka's event loop with another plugin.

A few of each run by default; STARTS and KILLS ask for more (`make busy`: 100 of each).
"""

import json
import os
import random
import shutil
import smtplib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from haraka.demo.instance import PLUGIN, Instance, Settings
from haraka.demo.messages import Message
from haraka.demo.record import Transaction
from haraka.demo.sender import send
from haraka.demo.sink import Sink
from haraka.demo.waiting import free_port, wait_until
from tests.haraka.side.haraka_side import PLUGINS
from tests.outage.lab import KEY, Lab, said_by_events
from tests.outage.lab import Setup as OutageSetup
from tests.support.servers import RealValkey

pytestmark = [pytest.mark.haraka, pytest.mark.timeout(7200), pytest.mark.usefixtures("npm_packages")]

STARTS: Final = int(os.environ.get("STARTS") or 3)
STALLING: Final = {"stalling": PLUGINS / "stalling.js"}
KILLS: Final = int(os.environ.get("KILLS") or 5)
BACKLOG: Final = 400
SENDERS: Final = 4
PER_CONNECTION: Final = 10
LONGEST_QUEUE: Final = 200
PATIENCE_SECONDS: Final = 180.0

#: Keeps a core busy; and the disk, with small durable writes.
_BUSY: Final = "while True: pass"
_SYNCING: Final = """
import os, sys
with open(sys.argv[1], "wb") as file:
    while True:
        file.seek(0)
        file.write(os.urandom(65536))
        file.flush()
        os.fsync(file.fileno())
"""


@contextmanager
def busy_machine(directory: Path) -> Iterator[None]:
    """Give every core and the disk something else to do."""
    directory.mkdir(exist_ok=True)
    commands = [[sys.executable, "-c", _BUSY] for _ in range(os.cpu_count() or 1)]
    commands.append([sys.executable, "-c", _SYNCING, str(directory / "synced")])
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def settings(sink: Sink, valkey: RealValkey, *, delivers: bool = True) -> Settings:
    outbound = (
        f"local_mx_ok=true\nenable_tls=false\ntemp_fail_intervals=5s,5s,5s,5s\ndisabled={str(not delivers).lower()}\n"
    )
    return Settings(
        free_port(),
        sink.port,
        valkey.settings.port,
        nodes=0,
        plugins=(PLUGIN, "stalling"),
        others={"outbound.ini": outbound},
    )


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RealValkey]:
    with RealValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink(free_port()) as started:
        yield started


@pytest.fixture
def backlog(tmp_path: Path, sink: Sink, valkey: RealValkey) -> Path:
    """Make a queue of messages that were never tried."""
    haraka = Instance(tmp_path / "queueing", settings(sink, valkey, delivers=False))
    haraka.make(STALLING)
    haraka.start()
    try:
        messages = (Message(f"m{n}@sender.test", (f"accept.{n}@blue.test",)) for n in range(BACKLOG))
        send(messages, haraka.settings.smtp_port)
        assert len(haraka.queued()) == BACKLOG
    finally:
        haraka.kill()
    return haraka.queue


@pytest.mark.parametrize("number", range(STARTS))
def test_a_start_with_a_backlog_lets_nothing_go_before_it_is_safe(
    number: int, backlog: Path, tmp_path: Path, sink: Sink, valkey: RealValkey
) -> None:
    haraka = Instance(tmp_path / "haraka", settings(sink, valkey))
    haraka.make(STALLING)
    shutil.copytree(backlog, haraka.queue)
    with busy_machine(tmp_path / "busy"):
        haraka.start()
        try:
            wait_until(lambda: not haraka.queued(), f"the end of backlog {number}", PATIENCE_SECONDS)
        finally:
            haraka.stop(patience_seconds=20)
    assert counted(valkey, "unsafe") == 0
    assert counted(valkey, "dropped") == 0
    assert len(sink.record.transactions()) == BACKLOG


def counted(valkey: RealValkey, name: str) -> int:
    """Return a counter of the last notes of all processes."""
    with valkey.client() as client:
        notes = [json.loads(note) for note in client.hvals(f"{KEY}:nodes")]
    assert notes
    return sum(note[name] for note in notes)


class Load:
    """Threads that send as fast as Haraka takes it, whatever happens to it, but for a queue that is long already."""

    def __init__(self, haraka: Instance) -> None:
        self._haraka = haraka
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(SENDERS)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, sender: int) -> None:
        number = 0
        while not self._stop.is_set():
            with (
                suppress(OSError, smtplib.SMTPException),
                closing(smtplib.SMTP("127.0.0.1", self._haraka.settings.smtp_port, timeout=30)) as client,
            ):
                for _ in range(PER_CONNECTION):
                    number += 1
                    message = Message(
                        f"s{sender}.{number}@sender.test",
                        (f"accept.{number}@blue.test", f"accept.more{number}@blue.test"),
                    )
                    client.sendmail(message.orig, message.rcpts, message.as_bytes())
            self._stop.wait(0.01)
            # Its own limit of open files would end Haraka otherwise.
            while len(self._haraka.queued()) > LONGEST_QUEUE and not self._stop.is_set():
                self._stop.wait(0.1)


def test_no_recipient_that_was_accepted_is_without_an_event_however_often_haraka_is_killed(tmp_path: Path) -> None:
    moments = random.Random(KILLS)
    setup = OutageSetup(nodes=0, plugins=STALLING)
    with Lab(tmp_path, setup) as lab, busy_machine(tmp_path / "busy"):
        lab.traffic.stop()
        with Load(lab.haraka):
            for _ in range(KILLS):
                before = len(lab.sink.record.transactions())
                lab.wait(lambda before=before: len(lab.sink.record.transactions()) > before + 20, "deliveries")  # type: ignore[misc]
                time.sleep(moments.uniform(0, 0.3))  # a moment of its own for each
                lab.haraka.kill()
                lab.haraka.start()
        lab.wait(lambda: not lab.haraka.queued(), "an empty queue")
        lab.wait(lambda: not lab.spooled(), "an empty spool")
        events = said_by_events(list(lab.events()))
        accepted = accepted_by(lab.sink.record.transactions())
    told = {(said.orig, said.rcpt) for said in events if said.type == "d"}
    assert accepted.keys() - told == set()
    assert accepted.total() > KILLS * 20


def accepted_by(transactions: tuple[Transaction, ...]) -> Counter[tuple[str, str]]:
    return Counter(
        (transaction.orig, rcpt)
        for transaction in transactions
        if transaction.verdict is not None and transaction.verdict[1].startswith("2")
        for rcpt, said in transaction.rcpts
        if said.startswith("2")
    )
