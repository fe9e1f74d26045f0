"""Entries that kill their readers become dead letters after eight deaths; entries struck by chance become rows."""

import hashlib
from typing import Any

import pytest

from tests.server.fleet import KEYS, Fleet, Killed
from tests.support.events import encode, make_event
from worker.errors import DiskTrouble, Fenced, StreamUnavailable
from worker.files import Files
from worker.loop import Worker
from worker.stream.script import Script

BOUNCES = KEYS.streams["bounce"]


def deliveries(fleet: Fleet) -> list[int]:
    """Return how often each pending bounce counts as delivered."""
    return [each["times_delivered"] for each in fleet.client.xpending_range(BOUNCES, "accounting", "-", "+", 100)]


def suspect(fleet: Fleet, *workers: Worker) -> None:
    """Let the only bounce be one that three of these workers have died of, and the first of them have it."""
    [entry] = fleet.client.xrange(BOUNCES)
    name = workers[0]._stream._consumer
    fleet.client.xreadgroup("accounting", name, {BOUNCES: ">"})
    fleet.client.xclaim(BOUNCES, "accounting", name, 0, [entry[0]], retrycount=3, justid=True)


def test_an_entry_that_kills_its_readers_costs_three_in_company_and_five_alone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.publisher.publish_some(6)
    poison = fleet.client.xadd(BOUNCES, {"events": encode([make_event("bounce", 99)]), "n": 1, "at": 3})
    fleet.publisher.publish_some(3)
    append = Files.append
    alone = []

    def killed_by_poison(self: Files, batch: Any) -> Any:
        if "bounce" in batch.parts and poison in batch.parts["bounce"].ids:
            alone.append(sum(len(part.ids) for part in batch.parts.values()) == 1)
            raise Killed
        return append(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "append", killed_by_poison)
        for number in range(12):
            worker = fleet.worker(f"worker-{number % 2 + 1}")  # it is taken over, too
            try:
                fleet.work(worker)
            except Killed:
                fleet.die(worker)
                continue
            break
        else:
            pytest.fail("the poison was never set aside")
    fleet.check()
    [letter] = fleet.client.xrange(KEYS.dead)
    assert letter[1][b"id"] == poison
    assert b"8 readers died, 5 of them with nothing else in hand" in letter[1][b"error"]
    assert b"bounce99" in letter[1][b"bytes"]
    assert alone == [False] * 3 + [True] * 5


def test_failures_of_the_disk_do_not_count_as_deaths(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(9)
    append = Files.append
    failures = [DiskTrouble("No space left on device")] * 12

    def fail(self: Files, batch: Any) -> Any:
        if failures:
            raise failures.pop()
        return append(self, batch)

    monkeypatch.setattr(Files, "append", fail)
    fleet.work(worker)
    fleet.check()
    assert fleet.client.xlen(KEYS.dead) == 0


def test_stalls_with_a_suspect_in_hand_and_take_overs_do_not_count_as_deaths(fleet: Fleet) -> None:
    one, other = fleet.worker("worker-1"), fleet.worker("worker-2")
    fleet.publisher.publish_some(3)
    suspect(fleet, one)
    for _ in range(8):
        assert one._reader.next_batch(wait=False)
        fleet.lapse(one)  # it stalls
        assert other._reader.next_batch(wait=False)
        assert deliveries(fleet) == [5]
        assert one.recover(Fenced())
        assert deliveries(fleet) == [4]  # though the other has it
        assert other.recover(StreamUnavailable("reset"))
        assert deliveries(fleet) == [3]
        one, other = other, one
    fleet.work(one)
    fleet.check()
    assert fleet.client.xlen(KEYS.dead) == 0


def test_a_take_over_is_no_delivery(fleet: Fleet) -> None:
    one, other = fleet.worker("worker-1"), fleet.worker("worker-2")
    fleet.publisher.publish_some(9)
    one._stream.request_new(10, block=False)
    one._stream.receive_entries()
    assert deliveries(fleet) == [1, 1, 1]
    for taker, owner in ((other, one), (one, other), (other, one)):
        fleet.lapse(owner)
        taker.recover(Fenced())
        assert taker._stream.take_over()
        assert deliveries(fleet) == [1, 1, 1]


def test_who_lives_clears_what_was_in_company_but_no_suspect_that_others_died_of(fleet: Fleet) -> None:
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(9)
    fleet.client.xreadgroup("accounting", "worker-1", {BOUNCES: ">"})
    ids = [entry[0] for entry in fleet.client.xrange(BOUNCES)]
    for entry_id, count in zip(ids, (2, 3, 7), strict=True):
        fleet.client.xclaim(BOUNCES, "accounting", "worker-1", 0, [entry_id], retrycount=count, justid=True)
    assert worker.recover(StreamUnavailable("reset"))
    assert deliveries(fleet) == [1, 3, 7]
    assert worker._reader.next_batch(wait=False)  # the second, alone
    assert deliveries(fleet) == [1, 4, 7]
    assert worker.recover(StreamUnavailable("reset"))
    assert deliveries(fleet) == [1, 3, 7]
    fleet.work(worker)
    fleet.check()


def test_a_deleted_suspect_is_counted_as_lost_and_not_waited_for(fleet: Fleet) -> None:
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(3)
    suspect(fleet, worker)
    assert worker._reader.next_batch(wait=False)
    fleet.client.xtrim(BOUNCES, maxlen=0)
    assert worker.recover(StreamUnavailable("reset"))
    fleet.work(worker)
    assert deliveries(fleet) == []
    assert fleet.client.hget(KEYS.ledger, "bounce:lost") == b"1"


class AsRedis62(Script):
    """A script to which XCLAIM answers as in Redis 6.2: with nil in place of an entry that is deleted."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.source = _XCLAIM_OF_6_2 + self.source
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


_XCLAIM_OF_6_2 = b"""
local server = redis
local redis = {error_reply = server.error_reply, call = function(command, ...)
  local reply = server.call(command, ...)
  return command == 'XCLAIM' and #reply == 0 and {false} or reply
end}
"""


def test_a_deleted_suspect_that_redis_6_2_answers_with_nil_is_counted_as_lost_too(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.stream.stream._read_alone", AsRedis62("read_alone"))
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(3)
    suspect(fleet, worker)
    fleet.client.xtrim(BOUNCES, maxlen=0)
    fleet.work(worker)
    assert deliveries(fleet) == []
    assert fleet.client.hget(KEYS.ledger, "bounce:lost") == b"1"
