"""A worker process whose files may not grow, as under a quota: it holds nothing, is not healthy, and comes back."""

import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.events import recipients_of
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, SHORT_TIMES_INI
from worker.stream.keys import Keys

_LIMIT_BYTES = 50_000  # of any file, the log included


def _worker(directory: Path, url: str, name: str) -> WorkerProcess:
    directory.mkdir()
    ini = directory / "accounting_files.ini"
    ini.write_text(f"path={directory}/files\narchiving=true\n[redis]\n{SHORT_TIMES_INI}")
    return WorkerProcess(ini, url, name)


def _let_files_grow(worker: WorkerProcess, size: int) -> None:
    _, hard = resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def _is_healthy(url: str, directory: Path) -> bool:
    command = [sys.executable, "-m", "worker", "status", "--redis", url, "--check", "worker-1"]
    return subprocess.run(command, cwd=directory, check=False).returncode == 0


def test_a_worker_whose_files_may_not_grow_is_not_healthy_takes_nothing_and_comes_back(
    valkey: RealValkey, tmp_path: Path
) -> None:
    client: Any = valkey.client()
    keys = Keys.of(PARTITION)
    publisher = Publisher(client, PARTITION)
    bad, good = _worker(tmp_path / "bad", valkey.url, "worker-1"), _worker(tmp_path / "good", valkey.url, "worker-2")

    def publish(batches: int, per_batch: int) -> None:
        publisher.publish_some(batches, per_batch=per_batch)

    def written() -> bool:
        rows = sum(int(client.hget(keys.ledger, f"{name}:rows") or 0) for name in keys.streams)
        return rows == sum(publisher.counts().values())

    try:
        bad.start()
        assert _is_healthy(valkey.url, tmp_path)
        owner = client.hget(keys.owners, "worker-1")
        _let_files_grow(bad, _LIMIT_BYTES)
        publish(60, 50)
        wait_until(lambda: "worker.recovering" in bad.log(), "trouble")
        wait_until(lambda: not _is_healthy(valkey.url, tmp_path), "the lease to run out")
        assert client.hget(keys.owners, "worker-1") == owner  # it did not even register again
        good.start()
        wait_until(written, "the other one to take over")
        publish(30, 1)
        wait_until(written, "the other one to take all that is new")
        assert not _is_healthy(valkey.url, tmp_path)
        assert bad.log().count("worker.recovering") <= 2  # what failed, and what was tried since
        assert "worker.recovered" not in bad.log()
        _let_files_grow(bad, resource.RLIM_INFINITY)
        wait_until(lambda: _is_healthy(valkey.url, tmp_path), "the worker to come back")
        publish(30, 1)
        wait_until(written, "the rest")
        assert bad.log().count("worker.recovered") == 1
        assert [bad.stop(), good.stop()] == [0, 0]
    finally:
        bad.kill()
        good.kill()
    published = Counter(recipients_of(e for events in publisher.published.values() for e in events))
    assert recipients_in(tmp_path / "bad" / "files") + recipients_in(tmp_path / "good" / "files") == published
