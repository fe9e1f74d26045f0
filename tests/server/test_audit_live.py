"""The audit while workers work, rotate and die: never a finding where everything is as it should be."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from config.loader import load
from schemas.events import TYPES
from tests.server.test_audit_deep import deep
from tests.server.test_command_line import write_ini
from tests.support.audits import audited, work
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, SHORT_TIMES_INI, settings
from worker.audit.finding import Finding
from worker.inventory import Place, Stored, configured_places, sealed
from worker.janitor.compress import compress
from worker.janitor.expire import expire
from worker.janitor.held import Busy
from worker.settings import Compression
from worker.stream.keys import Keys
from worker.stream.link import connector
from worker.stream.retention import Limits, trim

EVENTS = 24_000
STREAM_BYTES = 2_000_000  # less than half of what is published
PER_BATCH = 10


class Tidier(threading.Thread):
    """Compresses archived files as the janitor does, lets every second one expire, and trims the streams."""

    def __init__(self, path: Path, url: str) -> None:
        super().__init__(daemon=True)
        self._places = configured_places(settings(path).directory).values()
        self._connect = connector(settings(path).stream, url)
        self._end = threading.Event()
        self.done = 0

    def run(self) -> None:
        while not self._end.wait(0.05):
            trim(self._connect, PARTITION, Limits(days=0, bytes=STREAM_BYTES))
            for place in self._places:
                for stored in sealed(place):
                    if stored.path.parent == place.archive and stored.content_path == stored.path:
                        with suppress(Busy):
                            self._tidy(compress(stored, place, Compression.ZSTD), place)

    def _tidy(self, stored: Stored, place: Place) -> None:
        self.done += 1
        if self.done % 2:
            expire(stored, place)

    def stop(self) -> None:
        self._end.set()
        self.join()


def findings_of(kind: str, ini: Path, url: str) -> Sequence[Finding]:
    """Return what an audit finds in the files of an ini."""
    configured = settings(ini.parent / "files")
    if kind == "counts":
        return audited(configured, url).findings
    return deep(msgspec.structs.replace(configured, rows=load(ini, environ={}).settings.rows), url).findings


@pytest.mark.parametrize(("kind", "enough"), [("counts", 20), ("deep", 5)])
def test_an_audit_in_a_loop_finds_nothing_while_three_workers_rotate_and_one_is_killed(
    valkey: RealValkey, tmp_path: Path, kind: str, enough: int
) -> None:
    ini = tmp_path / "accounting_files.ini"
    ini.write_text(
        f"path={tmp_path}/files\narchiving=true\nmax_size=0.05\n[redis]\n{SHORT_TIMES_INI}batch_entries=20\n"
    )
    workers = [WorkerProcess(ini, valkey.url, f"worker-{number}") for number in (1, 2, 3)]
    for worker in workers:
        worker.start()
    ledger = Keys.of(PARTITION).ledger
    publisher = Publisher(valkey.client(), PARTITION)
    has_enough = threading.Event()

    def publish() -> None:
        """Publish so many events, and on, until the audits and the tidier have had enough to do."""
        while sum(publisher.counts().values()) < EVENTS or not has_enough.is_set():
            publisher.publish_some(10, per_batch=PER_BATCH)

    publishing = threading.Thread(target=publish)
    publishing.start()

    def committed() -> int:
        return sum(int(each or 0) for each in valkey.client().hmget(ledger, *(f"{name}:events" for name in TYPES)))

    tidier = Tidier(tmp_path / "files", valkey.url)
    tidier.start()
    audits = 0
    has_killed = False
    try:
        while (done := committed()) < EVENTS or audits <= enough or tidier.done <= 20:
            assert tidier.is_alive()
            assert findings_of(kind, ini, valkey.url) == [], f"audit {audits}"
            audits += 1
            if done > EVENTS // 2 and not has_killed:
                workers[0].kill()
                has_killed = True
        has_enough.set()
        publishing.join()
        published = sum(publisher.counts().values())
        wait_until(lambda: committed() == published, "everything is committed")
        assert findings_of(kind, ini, valkey.url) == []
        for worker in workers[1:]:
            assert worker.stop() == 0
        assert findings_of(kind, ini, valkey.url) == []
        report = audited(settings(tmp_path / "files"), valkey.url)
        assert sum(each.came["published"] for each in report.types) == published
        assert sum(rows.sealed > 0 and rows.expired > 0 for rows in report.directories[0].rows) == len(TYPES)
    finally:
        has_enough.set()
        tidier.stop()
        for worker in workers:
            worker.kill()
        wait_until(lambda: not publishing.is_alive(), "all is published")


def test_a_terminal_shows_how_far_a_deep_audit_is_and_other_output_nothing_of_it(
    valkey: RealValkey, tmp_path: Path
) -> None:
    ini = write_ini(tmp_path)
    configured = settings(tmp_path / "files")
    Publisher(valkey.client(), PARTITION).publish_some(30, recipients=2)
    work(configured, valkey.url, 30)
    command = [sys.executable, "-m", "worker", "audit", "--deep", "--redis", valkey.url, "--config", str(ini)]
    terminal, stderr = pty.openpty()
    done = subprocess.run(
        command, cwd=tmp_path, stderr=stderr, stdout=subprocess.PIPE, check=True, timeout=60,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(stderr)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "comparing" in shown
    assert "120 rows" in shown  # 60 of events, 60 in files
    assert "accounted for" in done.stdout.decode()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
