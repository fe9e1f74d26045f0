"""Leases that end too early or too late, as clocks and pauses make them: entries are taken over or not, never twice.

The server counts a lease by its own clock, which cannot be set here; a pause of the worker, and a lease that somebody
ends or prolongs, come to the same.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.bench import KEYS, Bench
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import SHORT_TIMES

TAKEN_OVER = "consumer.taken_over"


class Pair:
    """Two workers of one directory that are at work."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.one, self.other = bench.worker, bench.another("worker-2")
        for worker in (self.one, self.other):
            worker.start()

    def in_hand(self, name: str = "worker-1") -> int:
        """Return how many entries a worker has in hand."""
        client = self.bench.client
        return sum(
            len(client.xpending_range(key, "accounting", "-", "+", 1_000, consumername=name))
            for key in KEYS.streams.values()
        )

    def pause(self) -> None:
        """Stop the first worker with entries in hand."""
        for _ in range(1_000):
            self.bench.publish()
            os.kill(self.one.process.pid, signal.SIGSTOP)
            counts = {self.in_hand() for _ in range(20)}  # what it had sent before has been done meanwhile
            if len(counts) == 1 and counts.pop() > 0:
                return
            os.kill(self.one.process.pid, signal.SIGCONT)
        raise AssertionError("it never has anything in hand")

    def go_on(self) -> None:
        os.kill(self.one.process.pid, signal.SIGCONT)

    def check(self) -> None:
        self.bench.publish()
        self.bench.check()


@pytest.fixture
def bench(valkey: RealValkey, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Yield workers whose batches are small, and whose leases are as long as a test says."""
    made = Bench(
        valkey, tmp_path, batch_entries=2, lease_seconds=getattr(request, "param", SHORT_TIMES["lease_seconds"])
    )
    yield made
    made.kill()


def taken_over(*workers: WorkerProcess) -> int:
    return sum(worker.log().count(TAKEN_OVER) for worker in workers)


def test_a_worker_that_is_paused_beyond_its_lease_is_taken_over_from_and_fenced(bench: Bench) -> None:
    pair = Pair(bench)
    pair.pause()
    wait_until(lambda: taken_over(pair.other) > 0, "the other to take over")
    wait_until(bench.committed, "what it took over")
    pair.go_on()
    wait_until(lambda: "kind=Fenced" in pair.one.log(), "the first to notice")
    pair.check()


@pytest.mark.parametrize("bench", [60], indirect=True)
def test_a_worker_that_is_paused_within_its_lease_keeps_what_it_has_in_hand(bench: Bench) -> None:
    pair = Pair(bench)
    pair.pause()
    kept = pair.in_hand()
    bench.publish()
    wait_until(lambda: pair.in_hand("worker-2") == 0 and unread(bench) == 0, "everything else to be written")
    assert pair.in_hand() == kept
    pair.go_on()
    pair.check()
    assert taken_over(pair.one, pair.other) == 0


def test_leases_that_end_early_again_and_again_while_their_workers_work_double_nothing(bench: Bench) -> None:
    pair = Pair(bench)

    def often_enough() -> bool:
        bench.publisher.publish_at_once(60)
        for _ in range(300):  # between two commits, of which each sets one
            bench.client.delete(KEYS.lease("worker-1"), KEYS.lease("worker-2"))
        return taken_over(pair.one, pair.other) > 2

    wait_until(often_enough, "one to take over from the other, again and again")
    pair.check()


@pytest.mark.parametrize("bench", [60], indirect=True)
def test_a_lease_that_outlives_its_worker_only_puts_the_take_over_off(bench: Bench) -> None:
    pair = Pair(bench)
    pair.pause()
    bench.client.pexpire(KEYS.lease("worker-1"), 3_600_000)
    pair.one.kill()
    left = pair.in_hand()
    bench.publish()
    wait_until(lambda: pair.in_hand("worker-2") == 0 and unread(bench) == 0, "everything else to be written")
    assert (pair.in_hand(), taken_over(pair.other)) == (left, 0)
    bench.client.delete(KEYS.lease("worker-1"))
    wait_until(lambda: taken_over(pair.other) > 0, "the take-over")
    pair.check()


def unread(bench: Bench) -> int:
    """Return how many entries nobody was given yet."""
    left = 0
    for key in KEYS.streams.values():
        [group] = bench.client.xinfo_groups(key)
        left += len(bench.client.xrange(key, f"({group['last-delivered-id'].decode()}"))
    return left
