"""A failover to a replica that lags: nothing acknowledged disappears; with `wait_replicas` nothing stands twice."""

import copy
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from haraka.demo.waiting import free_port
from tests.outage.proxy import Mode, Proxy
from tests.support.events import recipients_of
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, SHORT_TIMES
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)


class Pair:
    """A primary and a replica, the replication in between, and one address that leads to who is the primary now."""

    def __init__(self, tmp_path: Path, stack: ExitStack) -> None:
        self.primary = stack.enter_context(RealValkey(tmp_path / "primary"))
        self.replica = stack.enter_context(RealValkey(tmp_path / "replica"))
        self.replication = stack.enter_context(Proxy(self.primary.settings.port, free_port()))
        self.address = stack.enter_context(Proxy(self.primary.settings.port, free_port()))
        self.url = f"redis://127.0.0.1:{self.address.port}/0"
        self.client: Any = self.primary.client()
        self.publisher = Publisher(self.client, PARTITION)
        self._tmp_path = tmp_path
        self._stack = stack
        self.path = tmp_path / "files"
        self.replica.client().replicaof("127.0.0.1", self.replication.port)
        wait_until(self.is_in_step, "the replica to be in step")

    def is_in_step(self) -> bool:
        """Tell whether the replica has all that was written."""
        self.client.set("mark", self.client.incr("marks"))
        return bool(self.client.wait(1, 1_000) == 1)

    def worker(self, name: str, **redis: object) -> WorkerProcess:
        """Start a worker that goes by the address."""
        ini = self._tmp_path / f"{name}.ini"
        options = {**SHORT_TIMES, "batch_entries": 5, **redis}
        lines = "".join(f"{key}={value}\n" for key, value in options.items())
        ini.write_text(f"path={self.path}\narchiving=true\n[redis]\n{lines}")
        worker = WorkerProcess(ini, self.url, name)
        worker.start()
        self._stack.callback(worker.kill)
        return worker

    def fail_over(self) -> None:
        """Lose the primary with all that the replica does not have."""
        self.primary.kill()
        self.client = self.replica.client()
        self.client.replicaof("NO", "ONE")
        self.publisher.use(self.client)
        self.address.server_port = self.replica.settings.port

    def expected(self) -> Counter[str]:
        return Counter(recipients_of(event for events in self.publisher.published.values() for event in events))

    def rows(self) -> Counter[str]:
        return recipients_in(self.path)

    def is_done(self) -> bool:
        """Tell whether every published event has rows, and its entry is acknowledged."""
        return not self.expected() - self.rows() and not self.unacknowledged()

    def unacknowledged(self) -> int:
        left = 0
        for key in KEYS.streams.values():
            [group] = self.client.xinfo_groups(key)
            left += group["pending"] + len(self.client.xrange(key, f"({group['last-delivered-id'].decode()}"))
        return left


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(tmp_path, stack)


def publish_to_both_and_commit_on_one(pair: Pair, workers: list[WorkerProcess]) -> None:
    """Let the replica have entries, but neither that they were delivered nor that they were committed."""
    for worker in workers:
        os.kill(worker.process.pid, signal.SIGSTOP)
    pair.publisher.publish_some(30)
    wait_until(pair.is_in_step, "the replica to have the entries")
    pair.replication.mode = Mode.SWALLOW
    for worker in workers:
        os.kill(worker.process.pid, signal.SIGCONT)


def test_a_failover_that_loses_commits_and_events_costs_no_row_and_the_same_worker_writes_none_twice(
    pair: Pair,
) -> None:
    worker = pair.worker("worker-1")
    pair.publisher.publish_some(30)
    wait_until(pair.is_done, "the first rows")
    publish_to_both_and_commit_on_one(pair, [worker])
    wait_until(pair.is_done, "commits that the replica does not get")
    pair.publisher.publish_some(9)
    wait_until(pair.is_done, "events that the replica does not get")
    forgotten = Counter(pair.rows())
    pair.fail_over()
    wait_until(lambda: "server.lost_its_tail" in worker.log(), "the loss to be noticed")
    wait_until(lambda: not pair.unacknowledged(), "what comes again to be acknowledged")
    assert not forgotten - pair.rows()  # no acknowledged row has disappeared, the replica's unknown ones included
    pair.publisher.restart()
    pair.publisher.publish_some(30)
    wait_until(pair.is_done, "what comes after it")
    assert worker.stop() == 0
    assert pair.rows() == pair.expected()


def test_what_another_worker_gets_after_a_failover_stands_at_most_twice(pair: Pair) -> None:
    workers = [pair.worker("worker-1"), pair.worker("worker-2")]
    publish_to_both_and_commit_on_one(pair, workers)
    wait_until(pair.is_done, "commits that the replica does not get")
    pair.fail_over()
    wait_until(lambda: any("server.lost_its_tail" in worker.log() for worker in workers), "the loss to be noticed")
    wait_until(pair.is_done, "what comes again")
    assert [worker.stop() for worker in workers] == [0, 0]
    assert pair.rows().keys() == pair.expected().keys()
    assert set(pair.rows().values()) <= {1, 2}


def test_events_that_the_replica_did_not_have_and_that_are_sent_again_stand_at_most_twice(pair: Pair) -> None:
    worker = pair.worker("worker-1")
    pair.publisher.publish_some(9)
    wait_until(pair.is_done, "the first rows")
    wait_until(pair.is_in_step, "the replica to have them")
    before = copy.deepcopy((pair.publisher._seq, pair.publisher.published))
    pair.replication.mode = Mode.SWALLOW
    pair.publisher.publish_some(30)
    wait_until(pair.is_done, "events that the replica does not get")
    pair.fail_over()
    pair.publisher._seq, pair.publisher.published = before
    pair.publisher.publish_some(30)  # the same batches, out of the ring of a Haraka node
    wait_until(lambda: "server.lost_its_tail" in worker.log(), "the loss to be noticed")
    wait_until(pair.is_done, "what comes again")
    assert worker.stop() == 0
    assert pair.rows().keys() == pair.expected().keys()
    assert set(pair.rows().values()) <= {1, 2}


def test_with_wait_replicas_a_commit_that_the_replica_did_not_get_does_not_count_and_every_row_stands_once(
    pair: Pair,
) -> None:
    worker = pair.worker("worker-1", wait_replicas=1)
    pair.publisher.publish_some(30)
    wait_until(pair.is_done, "the first rows")
    publish_to_both_and_commit_on_one(pair, [worker])
    wait_until(lambda: "reached 0 of 1 replicas" in worker.log(), "a commit that too few have")
    wait_until(lambda: pair.unacknowledged() < 30, "that commit on the primary")
    pair.fail_over()
    with RealValkey(pair.path.parent / "next") as follower:  # else no commit counts any more
        follower.client().replicaof("127.0.0.1", pair.replica.settings.port)
        wait_until(pair.is_done, "what comes again")
        assert "server.lost_its_tail" not in worker.log()
        assert worker.stop() == 0
    assert pair.rows() == pair.expected()
