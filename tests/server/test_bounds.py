"""One hostile entry costs less than a second, and nobody's rows, on the oldest server as on the newest."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.fleet import KEYS, Fleet
from tests.support.any_server import AnyServer, servers_here
from tests.support.audits import audited
from tests.support.events import encode, make_event
from tests.support.workers import PARTITION, settings
from worker.decode import LETTERS_AT_ONCE, LETTERS_OF_AN_ENTRY, LONGEST_ERROR
from worker.stream.dead_letters import dead_letters
from worker.stream.link import connector

DELIVERED = KEYS.streams["delivered"]


def zeros(count: int) -> bytes:
    return b"[" + b",".join([b"0"] * count) + b"]"


#: What somebody publishes, and how many dead letters and dead events that is.
HOSTILE = {
    "350 kB of numbers": (zeros(175_000), LETTERS_OF_AN_ENTRY + 1, 175_000),
    "a million bad events": (zeros(1_000_000), LETTERS_OF_AN_ENTRY + 1, 1_000_000),
    "as many as have letters": (zeros(LETTERS_OF_AN_ENTRY), LETTERS_OF_AN_ENTRY, LETTERS_OF_AN_ENTRY),
    "one more": (zeros(LETTERS_OF_AN_ENTRY + 1), LETTERS_OF_AN_ENTRY + 1, LETTERS_OF_AN_ENTRY + 1),
    "deep arrays": (b"[" * 100_000, 1, 1),
    "deep objects": (b'[{"x":' * 100_000, 1, 1),
    "huge numbers": (b'[{"timeLogged":' + b"9" * 1_000_000 + b"},1e400]", 2, 2),
    "a long unknown type": (b'[{"type":"' + b"\\u001b[31m" * 100_000 + b'"}]', 1, 1),
    "no JSON": (b"\xff\0" * 100_000, 1, 1),
    "nothing": (b"", 1, 1),
}  # fmt: skip


@pytest.fixture(params=servers_here(), ids=lambda path: path.parent.parent.name + "-" + path.name)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with AnyServer(tmp_path / "server", executable=request.param) as server:
        made = Fleet(server, tmp_path / "files")
        yield made
        for worker in made.workers:
            worker.release()
        made.client.close()


def letters(fleet: Fleet) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in fleet.client.xrange(KEYS.dead)]


def slowest_ms(fleet: Fleet) -> float:
    return max((each["duration"] / 1000 for each in fleet.client.slowlog_get(100)), default=0)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_entry_costs_less_than_a_second_and_its_neighbours_become_rows(site: Fleet, what: str) -> None:
    payload, letter_count, events = HOSTILE[what]
    worker = site.worker("worker-1")
    site.publisher.publish_some(3)
    site.client.xadd(DELIVERED, {"events": payload})
    site.publisher.publish_some(3)
    began = time.process_time()
    site.work(worker)
    assert time.process_time() - began < 1
    assert slowest_ms(site) < 1000
    site.check()
    found = letters(site)
    assert len(found) == letter_count
    assert sum(int(each[b"n"]) for each in found) == events == int(site.client.hget(KEYS.ledger, "delivered:dead"))
    assert all(
        len(each[b"error"].decode()) <= LONGEST_ERROR and each[b"error"].decode().isprintable() for each in found
    )
    assert b"".join(each[b"bytes"] for each in found).count(b"0") == payload.count(b"0") or len(found) < 100
    assert audited(settings(site.path), site.url).balanced


def test_many_hostile_entries_at_once_have_a_letter_each_beyond_the_bound(fleet: Fleet) -> None:
    worker = fleet.worker("worker-1", batch_entries=256, batch_bytes=100_000_000)
    entries = 50
    for _ in range(entries):
        fleet.client.xadd(DELIVERED, {"events": zeros(2_000)})
    fleet.publisher.publish_some(9)
    fleet.work(worker)
    fleet.check()
    found = letters(fleet)
    assert sum(int(each[b"n"]) for each in found) == entries * 2_000
    assert LETTERS_AT_ONCE < len(found) <= LETTERS_AT_ONCE + LETTERS_OF_AN_ENTRY + entries
    assert audited(settings(fleet.path), fleet.url).balanced


@pytest.mark.parametrize("done", ["retry", "drop"])
def test_the_letter_of_the_rest_is_retried_or_dropped_whole_and_the_audit_balances(fleet: Fleet, done: str) -> None:
    bad, good = b"0", [make_event("delivered", number) for number in range(4)]
    payload = b"[" + b",".join([bad] * LETTERS_OF_AN_ENTRY + [encode(good)[1:-1], bad, encode(good)[1:-1]]) + b"]"
    worker = fleet.worker("worker-1")
    fleet.client.xadd(DELIVERED, {"events": payload, "n": LETTERS_OF_AN_ENTRY + 9, "at": LETTERS_OF_AN_ENTRY + 9})
    fleet.client.hincrby(KEYS.ledger, "delivered:published", LETTERS_OF_AN_ENTRY + 9)
    fleet.work(worker)
    [*_, rest] = letters(fleet)
    assert (rest[b"index"], rest[b"n"]) == (b"%d" % (LETTERS_OF_AN_ENTRY + 4), b"5")
    configured = settings(fleet.path)
    assert audited(configured, fleet.url).balanced
    with dead_letters(connector(configured.stream, fleet.url), PARTITION, change=True) as dead:
        for letter in list(dead.letters(dead.last_id())):
            if letter.index == LETTERS_OF_AN_ENTRY + 4:
                assert letter.event_count == 5
                (dead.retry if done == "retry" else lambda each: dead.drop(each.id))(letter)
    fleet.work(worker)
    assert int(fleet.client.hget(KEYS.ledger, "delivered:events")) == (8 if done == "retry" else 4)
    assert audited(configured, fleet.url).balanced


@pytest.mark.parametrize(("there", "left"), [(5, 5), (6, 5), (2, 2)])
def test_the_oldest_letters_beyond_the_bound_are_dropped_and_counted(fleet: Fleet, there: int, left: int) -> None:
    worker = fleet.worker("worker-1")
    ids: list[Any] = []
    for _ in range(there):
        fleet.client.xadd(DELIVERED, {"events": b"[0]"})
    fleet.work(worker)
    ids = [entry_id for entry_id, _ in fleet.client.xrange(KEYS.dead)]
    configured = settings(fleet.path)
    with dead_letters(connector(configured.stream, fleet.url), PARTITION, change=True) as dead:
        assert dead.drop_beyond(5) == there - left
    assert [entry_id for entry_id, _ in fleet.client.xrange(KEYS.dead)] == ids[there - left :]
    assert int(fleet.client.hget(KEYS.ledger, "delivered:dropped")) == there - left
    assert audited(configured, fleet.url).balanced
