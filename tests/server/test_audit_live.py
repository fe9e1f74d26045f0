"""The audit while workers work, rotate and die: never a finding where everything is as it should be."""

import threading
from contextlib import suppress
from pathlib import Path

from schemas.events import TYPES
from tests.support.audits import audited
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, settings
from worker.inventory import Place, Stored, places, sealed
from worker.janitor.compress import compress
from worker.janitor.expire import expire
from worker.janitor.held import Busy
from worker.settings import Compression
from worker.stream.keys import Keys

EVENTS = 24_000
PER_BATCH = 10


class Tidier(threading.Thread):
    """Compresses archived files as the janitor does, and lets every second one expire."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._places = places(settings(path).directory).values()
        self._end = threading.Event()
        self.done = 0

    def run(self) -> None:
        while not self._end.wait(0.05):
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


def test_an_audit_in_a_loop_finds_nothing_while_three_workers_rotate_and_one_is_killed(
    valkey: RealValkey, tmp_path: Path
) -> None:
    ini = tmp_path / "accounting_files.ini"
    ini.write_text(
        f"path={tmp_path}/files\narchiving=true\nmax_size=0.05\n[redis]\nsocket_timeout_seconds=1\nblock_ms=200\nlease_seconds=5\nbatch_entries=20\n"
    )
    workers = [WorkerProcess(ini, valkey.url, f"worker-{number}") for number in (1, 2, 3)]
    for worker in workers:
        worker.start()
    client, ledger = valkey.client(), Keys.of(PARTITION).ledger
    publisher = Publisher(client, PARTITION)
    publishing = threading.Thread(
        target=publisher.publish_some, args=(EVENTS // PER_BATCH,), kwargs={"per_batch": PER_BATCH}
    )
    publishing.start()

    def committed() -> int:
        return sum(int(each or 0) for each in valkey.client().hmget(ledger, *(f"{name}:events" for name in TYPES)))

    tidier = Tidier(tmp_path / "files")
    tidier.start()
    audits = 0
    has_killed = False
    try:
        while (done := committed()) < EVENTS:
            report = audited(settings(tmp_path / "files"), valkey.url)
            assert report.findings == [], f"audit {audits}"
            audits += 1
            if done > EVENTS // 2 and not has_killed:
                workers[0].kill()
                has_killed = True
        publishing.join()
        assert audited(settings(tmp_path / "files"), valkey.url).findings == []
        for worker in workers[1:]:
            assert worker.stop() == 0
        report = audited(settings(tmp_path / "files"), valkey.url)
        assert report.findings == []
        assert sum(each.came["published"] for each in report.types) == EVENTS
        assert audits > 20
        assert tidier.is_alive()
        assert tidier.done > 20
        assert sum(rows.sealed > 0 and rows.expired > 0 for rows in report.directories[0].rows) == len(TYPES)
    finally:
        tidier.stop()
        for worker in workers:
            worker.kill()
        wait_until(lambda: not publishing.is_alive(), "all is published")
