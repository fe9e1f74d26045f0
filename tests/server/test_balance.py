"""Whatever stands in the streams, what came is what went: counted in events, on a real server."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.audits import audited
from tests.support.events import encode, make_event
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, HandClock, drain, make_worker, settings
from worker.stream.dead_letters import dead_letters
from worker.stream.keys import GROUP, Keys
from worker.stream.link import connector

KEYS = Keys.of(PARTITION)
BOUNCES = KEYS.streams["bounce"]
BAD = b'{"type":"b"}'


class Balanced:
    """A worker at work, and the audit's word on what it did."""

    def __init__(self, url: str, client: Any, path: Path) -> None:
        self.url = url
        self.client = client
        self.configured = settings(path)
        self.publisher = Publisher(client, PARTITION)
        self.worker = make_worker(self.configured, None, HandClock(), url=url)
        self.worker.recover()

    def ledger(self, *counters: str) -> tuple[int, ...]:
        return tuple(int(self.client.hget(KEYS.ledger, f"bounce:{counter}")) for counter in counters)

    def by_hand(self, content: bytes, **fields: object) -> bytes:
        added: bytes = self.client.xadd(BOUNCES, {"events": content, **fields})
        return added

    def check(self) -> None:
        report = audited(self.configured, self.url)
        assert report.findings == []

    def letters(self, act: str) -> None:
        """Retry or drop all dead letters."""
        with dead_letters(connector(self.configured.stream, self.url), PARTITION, change=True) as dead:
            for letter in list(dead.letters(dead.last_id())):
                dead.retry(letter) if act == "retry" else dead.drop(letter.id)


@pytest.fixture
def balanced(valkey: RealValkey, tmp_path: Path) -> Any:
    made = Balanced(valkey.url, valkey.client(), tmp_path / "files")
    yield made
    made.worker.release()


def test_an_entry_that_cannot_be_taken_apart_counts_as_what_was_published_in_it(balanced: Balanced) -> None:
    balanced.publisher.publish_some(3, per_batch=2)
    balanced.publisher.publish_bytes("bounce", 5, b"[no events]")
    balanced.check()
    drain(balanced.worker, 11)
    assert balanced.ledger("published", "events", "dead", "foreign") == (7, 2, 5, 0)
    [letter] = balanced.client.xrange(KEYS.dead)
    assert (letter[1][b"index"], letter[1][b"n"]) == (b"-1", b"5")
    balanced.check()
    balanced.letters("retry")
    balanced.check()
    drain(balanced.worker, 12)
    assert balanced.ledger("published", "dead", "retried") == (8, 6, 5)
    balanced.check()
    balanced.letters("drop")
    assert balanced.ledger("dropped") == (1,)
    balanced.check()


def test_events_that_somebody_added_by_hand_are_foreign_and_leave_the_balance_as_it_was(balanced: Balanced) -> None:
    balanced.publisher.publish_some(9, per_batch=2)
    balanced.by_hand(encode([make_event("bounce", 900), make_event("bounce", 901)]))
    balanced.by_hand(b"[" + BAD + b"," + encode([make_event("bounce", 902)])[1:], n=2)
    balanced.by_hand(b"nothing", n=10**12, at=1)
    balanced.publisher.publish_some(9, per_batch=2)
    balanced.check()
    drain(balanced.worker, 36 + 5)
    assert balanced.ledger("published", "events", "dead", "foreign") == (12, 15, 2, 5)
    balanced.check()
    balanced.letters("retry")
    drain(balanced.worker, 36 + 5 + 2)
    balanced.check()
    balanced.letters("drop")
    balanced.check()


def test_an_entry_that_is_set_aside_counts_as_what_was_published_in_it(balanced: Balanced) -> None:
    balanced.publisher.publish({"bounce": [make_event("bounce", number) for number in range(4)]})
    balanced.by_hand(encode([make_event("bounce", 900)]))
    balanced.client.xreadgroup(GROUP, "worker-1", {BOUNCES: ">"})
    ids = [entry[0] for entry in balanced.client.xrange(BOUNCES)]
    balanced.client.xclaim(BOUNCES, GROUP, "worker-1", 0, ids, retrycount=8, justid=True)
    balanced.worker.step()
    assert balanced.ledger("published", "events", "dead", "foreign") == (4, 0, 5, 1)
    assert [letter[1][b"n"] for letter in balanced.client.xrange(KEYS.dead)] == [b"4", b"1"]
    balanced.check()
    balanced.letters("retry")
    drain(balanced.worker, 5)
    assert balanced.ledger("published", "events", "dead", "retried") == (9, 5, 5, 5)
    balanced.check()
