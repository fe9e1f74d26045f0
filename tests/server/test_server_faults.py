"""What the server can do to a worker process: it waits, goes on by itself, and writes each row once."""

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.events import recipients_of
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.errors import ExitCode
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)


class Bench:
    """A server and a worker process whose timeouts are short."""

    def __init__(self, valkey: RealValkey, tmp_path: Path) -> None:
        self.valkey = valkey
        self.path = tmp_path / "files"
        ini = tmp_path / "accounting_files.ini"
        ini.write_text(
            f"path={self.path}\narchiving=true\n"
            "[redis]\nsocket_timeout_seconds=1\nblock_ms=200\nlease_seconds=5\nbatch_entries=50\n"
        )
        self.worker = WorkerProcess(ini, valkey.url)
        self.client: Any = valkey.client()
        self.publisher = Publisher(self.client, PARTITION)

    def publish(self) -> None:
        self.publisher.publish_some(30, per_batch=2)

    def rows(self) -> Counter[str]:
        return recipients_in(self.path)

    def written(self) -> bool:
        """Tell whether every published event has rows."""
        return set(self.expected()) <= set(self.rows())

    def committed(self) -> bool:
        """Tell whether nothing is pending."""
        return not any(self.client.xpending(key, "accounting")["pending"] for key in KEYS.streams.values())

    def expected(self) -> list[str]:
        return recipients_of(event for events in self.publisher.published.values() for event in events)

    def check(self) -> None:
        """Wait until everything is written, and compare."""
        wait_until(self.written, "every row")
        assert self.worker.stop() == 0
        assert self.rows() == Counter(self.expected())


@pytest.fixture
def bench(valkey: RealValkey, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(valkey, tmp_path)
    yield made
    made.worker.kill()


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


def test_a_wrong_password_is_told_and_the_right_one_is_noticed(bench: Bench) -> None:
    bench.publish()
    bench.client.config_set("requirepass", "secret")
    bench.worker.start(ready=False)
    wait_until(lambda: "Authentication required" in bench.worker.log(), "the refusal")
    bench.client.execute_command("AUTH", "secret")
    bench.client.config_set("requirepass", "")
    bench.check()
