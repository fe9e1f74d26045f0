"""What the server can do to a worker process: it waits, goes on by itself, and writes each row once."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.server.bench import KEYS, Bench
from tests.support.servers import RealValkey, wait_until
from worker.errors import ExitCode


def test_a_server_that_is_killed_and_started_again_costs_no_row(bench: Bench) -> None:
    bench.worker.start()
    bench.publish()
    wait_until(bench.written, "the first rows")
    bench.valkey.kill()
    wait_until(lambda: "worker.recovering" in bench.worker.log(), "the outage to be noticed")
    bench.valkey.start()
    bench.client.script_load(bench.publisher.script)
    bench.publish()
    bench.check()
    assert bench.worker.log().count("worker.recovering") < 8  # once per cause, not per attempt
    assert "worker.recovered" in bench.worker.log()


def test_a_server_that_is_not_there_at_the_start_is_waited_for(bench: Bench) -> None:
    bench.publish()
    bench.valkey.kill()
    bench.worker.start(ready=False)
    wait_until(lambda: "worker.recovering" in bench.worker.log(), "the outage to be noticed")
    bench.valkey.start()
    bench.check()


def test_a_server_that_stalls_longer_than_the_timeout_costs_no_row(bench: Bench) -> None:
    bench.worker.start()
    bench.publish()
    os.kill(bench.valkey.pid, signal.SIGSTOP)
    wait_until(lambda: "worker.recovering" in bench.worker.log(), "the stall to be noticed")
    os.kill(bench.valkey.pid, signal.SIGCONT)
    bench.publish()
    bench.check()


def test_a_flushed_server_costs_none_of_the_rows_that_were_written(bench: Bench) -> None:
    bench.worker.start()
    bench.publish()
    wait_until(bench.written, "the first rows")
    wait_until(bench.committed, "commits")  # what is appended only, and forgotten by the server, is nowhere else
    bench.client.flushall()
    bench.client.script_load(bench.publisher.script)
    bench.publisher.restart()
    wait_until(lambda: "server.lost_its_tail" in bench.worker.log(), "the loss to be noticed")
    bench.publish()
    bench.check()


def test_a_deleted_stream_is_gone_on_with_behind_what_was_committed(bench: Bench) -> None:
    bench.worker.start()
    bench.publish()
    wait_until(bench.written, "the first rows")
    wait_until(bench.committed, "commits")
    bench.client.delete(KEYS.streams["bounce"])
    wait_until(lambda: "group.lost" in bench.worker.log(), "the loss to be noticed")
    bench.publish()
    bench.check()


def test_a_policy_that_evicts_streams_ends_the_worker_with_its_own_code(bench: Bench) -> None:
    bench.worker.start()
    bench.client.config_set("maxmemory-policy", "allkeys-lru")
    assert bench.worker.process.wait(60) == ExitCode.SERVER_REFUSED
    assert re.search(r"allkeys-lru deletes whole streams", bench.worker.log())


def test_a_missing_password_is_told_and_the_end_of_that_noticed(bench: Bench) -> None:
    bench.publish()
    bench.client.config_set("requirepass", "secret")
    bench.worker.start(ready=False)
    bench.told("Authentication required")
    bench.client.execute_command("AUTH", "secret")
    bench.client.config_set("requirepass", "")
    bench.check()


def test_a_wrong_password_is_told_and_the_right_one_is_noticed(valkey: RealValkey, tmp_path: Path) -> None:
    bench = Bench(valkey, tmp_path, f"redis://:right@127.0.0.1:{valkey.settings.port}/0")
    bench.client.config_set("requirepass", "secret")
    bench.client.execute_command("AUTH", "secret")
    bench.publish()
    try:
        bench.worker.start(ready=False)
        bench.told("invalid username-password pair")
        bench.client.config_set("requirepass", "right")
        bench.told("worker.ready")
        wait_until(bench.written, "the first rows")
        wait_until(bench.committed, "the first commits")
        bench.client.config_set("requirepass", "other")  # it is changed at work: connections stay, until they break
        bench.client.client_kill_filter(_type="normal", skipme=True)
        wait_until(
            lambda: bench.worker.log().count("invalid username-password pair") == 2,
            "the refusal of the next connection",
        )
        bench.client.config_set("requirepass", "right")
        bench.publish()
        bench.check()
    finally:
        bench.kill()


def test_a_server_that_is_started_again_without_its_data_costs_none_of_the_rows_that_were_written(bench: Bench) -> None:
    bench.worker.start()
    bench.write_some()
    bench.valkey.kill()
    bench.told("worker.recovering")
    shutil.rmtree(bench.valkey.settings.directory)
    bench.valkey.start()
    bench.told("server.lost_its_tail")
    bench.publisher.use(bench.client)
    bench.publisher.restart()
    bench.publish()
    bench.check()


def test_a_server_that_forgot_its_scripts_is_given_them_again(bench: Bench) -> None:
    bench.worker.start()
    bench.write_some()
    for _ in range(3):
        before = bench.worker.log().count("worker.recovered")
        bench.client.script_flush()
        bench.publisher.use(bench.client)
        bench.publish()
        wait_until(lambda: bench.worker.log().count("worker.recovered") > before, "the recovery")  # noqa: B023
        bench.write_some()
    told = re.findall(r'worker\.recovering why="script (commit|lease): No matching script', bench.worker.log())
    assert len(told) == 3  # whichever the worker calls first
    bench.check()


@pytest.mark.parametrize("what", ["group", "stream"])
def test_what_all_workers_read_from_is_gone_and_no_row_is_lost(bench: Bench, what: str) -> None:
    other = bench.another("worker-2")
    for worker in (bench.worker, other):
        worker.start()
    bench.write_some()
    if what == "group":
        bench.client.xgroup_destroy(KEYS.streams["bounce"], "accounting")
    else:
        bench.client.delete(KEYS.streams["bounce"])
    wait_until(lambda: "group.lost" in bench.worker.log() + other.log(), "the loss to be noticed")
    bench.publish()
    wait_until(bench.written, "every row")
    wait_until(bench.committed, "every commit")
    assert {bench.worker.stop(), other.stop()} == {0}
    assert bench.rows().keys() == set(bench.expected())
    doubled = {rcpt for rcpt, count in bench.rows().items() if count > 1}
    assert all(rcpt.startswith("bounce") and bench.rows()[rcpt] == 2 for rcpt in doubled)
