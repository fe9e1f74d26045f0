"""A server that evicts the workers' leases, since nothing else on it expires: told, and no worker is taken for dead."""

import json
import time
from pathlib import Path

from tests.server.test_command_line import run, write_ini
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.errors import ExitCode
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)


def test_a_worker_whose_lease_is_evicted_all_the_time_is_warned_and_still_counts_as_working(
    valkey: RealValkey, tmp_path: Path
) -> None:
    client = valkey.client()
    worker = WorkerProcess(write_ini(tmp_path, "[redis]\nlease_seconds=12\n"), valkey.url)
    worker.start()
    Publisher(client, PARTITION).publish_some(3)
    client.config_set("maxmemory-policy", "volatile-lru")
    client.config_set("maxmemory", 1)  # it is full: each command removes what expires
    wait_until(lambda: client.info("stats")["evicted_keys"] > 0, "a lease was evicted")
    wait_until(lambda: "removes the workers' leases" in worker.log(), "the warning")
    assert "eviction policy volatile-lru" in worker.log()
    ini = str(tmp_path / "accounting_files.ini")

    def check() -> int:
        return run("status", "--check", "worker-1", "--config", ini, "--redis", valkey.url, cwd=tmp_path).returncode

    without_lease, end = 0, time.monotonic() + 15
    while without_lease < 10 or time.monotonic() < end:  # longer than a lease: no entry comes meanwhile
        without_lease += not client.exists(KEYS.lease("worker-1"))
        assert check() == 0
    told = json.loads(run("status", "--json", "--config", ini, "--redis", valkey.url, cwd=tmp_path).stdout)
    assert any("Set maxmemory-policy noeviction" in each for each in told["warnings"])
    is_told = "inactive" in client.xinfo_consumers(KEYS.streams["delivered"], "accounting")[0]  # from 7.2 on
    assert [each["alive"] for each in told["consumers"]] == [True if is_told else None]
    worker.kill()
    wait_until(lambda: check() == ExitCode.FAILED, "a worker that is dead counts as dead")


def test_where_nothing_is_evicted_a_worker_without_a_lease_does_not_work(valkey: RealValkey, tmp_path: Path) -> None:
    client = valkey.client()
    worker = WorkerProcess(write_ini(tmp_path), valkey.url)
    worker.start()
    assert worker.stop() == 0
    client.config_set("maxmemory-policy", "volatile-lru")
    done = run("status", "--check", "worker-1", "--redis", valkey.url, cwd=tmp_path)
    assert done.returncode == ExitCode.FAILED


def test_a_replica_is_told_by_workers_and_status(valkey: RealValkey, tmp_path: Path) -> None:
    with RealValkey(tmp_path / "replica") as replica:
        client = replica.client()
        first = WorkerProcess(write_ini(tmp_path), valkey.url)
        first.start()
        assert first.stop() == 0
        client.replicaof("127.0.0.1", valkey.settings.port)
        wait_until(lambda: bool(client.exists(KEYS.epoch)), "the replica has the keys")
        said = f"the server is a replica of 127.0.0.1:{valkey.settings.port} and takes no writes: expected its primary"
        worker = WorkerProcess(write_ini(tmp_path), replica.url, name="of-the-replica")
        worker.start(ready=False)
        wait_until(lambda: said in worker.log(), "the trouble")
        worker.kill()
        assert said in " ".join(run("status", "--redis", replica.url, cwd=tmp_path).stdout.split())
        client.replicaof("NO", "ONE")
        worker.start()
        assert worker.stop() == 0
