"""The audit while workers work, rotate and die: never a finding where everything is as it should be."""

import threading
from pathlib import Path

from schemas.events import TYPES
from tests.support.audits import audited
from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, settings
from worker.stream.keys import Keys

EVENTS = 24_000
PER_BATCH = 10


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
        assert sum(len(sealed_files(tmp_path / "files", name)) for name in TYPES) > 40
    finally:
        for worker in workers:
            worker.kill()
        wait_until(lambda: not publishing.is_alive(), "all is published")
