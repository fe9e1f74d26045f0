"""Trimming on a real server: by age, by memory, and never what some group has not acknowledged."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_command_line import run
from tests.support.events import encode, make_event
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, changed, settings
from worker.chores import Chores
from worker.directory import Directory
from worker.errors import StreamUnavailable
from worker.stream import Connector, Stream
from worker.stream.keys import GROUP, Keys
from worker.stream.link import connector
from worker.stream.retention import Blocked, Limits, Trimmed, trim

KEYS = Keys.of(PARTITION)
DELIVERED, BOUNCE = KEYS.streams["delivered"], KEYS.streams["bounce"]
DAY_MS = 86_400_000
WEEK = Limits(days=7, bytes=0)


@pytest.fixture
def client(valkey: RealValkey, tmp_path: Path) -> Any:
    stream = Stream(settings(tmp_path).stream, "worker-1", url=valkey.url)
    stream.open()  # makes keys and groups
    stream.close()
    return valkey.client()


@pytest.fixture
def connect(valkey: RealValkey, tmp_path: Path) -> Connector:
    return connector(settings(tmp_path).stream, valkey.url)


class Writer:
    """Adds entries of two events each, as of so many days ago."""

    def __init__(self, client: Any) -> None:
        self._client = client
        seconds, microseconds = client.time()
        self._now_ms = seconds * 1000 + microseconds // 1000
        self._at = dict.fromkeys(KEYS.streams, 0)
        self._sequence = 0

    def add(self, days_ago: float, entries: int = 1, event_type: str = "delivered", size: int = 0) -> list[str]:
        """Return the ids."""
        pipeline = self._client.pipeline(transaction=False)
        for _ in range(entries):
            self._sequence += 1
            self._at[event_type] += 2
            events = encode([make_event(event_type, self._sequence + index, pad="x" * size) for index in range(2)])
            fields = {"events": events, "n": 2, "at": self._at[event_type]}
            entry_id = f"{int(self._now_ms - days_ago * DAY_MS)}-{self._sequence}"
            pipeline.xadd(KEYS.streams[event_type], fields, id=entry_id)
        return [entry_id.decode() for entry_id in pipeline.execute()]


@pytest.fixture
def writer(client: Any) -> Writer:
    return Writer(client)


def read(client: Any, key: str, count: int, *, group: str = GROUP) -> list[bytes]:
    """Read as a consumer does, without acknowledging; return the ids."""
    reply = client.xreadgroup(group, "reader", {key: ">"}, count=count)
    return [entry_id for entry_id, _ in reply[0][1]]


def acknowledge(client: Any, key: str, count: int, *, group: str = GROUP) -> None:
    for first in range(0, count, 1000):
        client.xack(key, group, *read(client, key, min(1000, count - first), group=group))


def ids(client: Any, key: str) -> list[str]:
    return [entry_id.decode() for entry_id, _ in client.xrange(key)]


def used(client: Any) -> int:
    return sum(client.memory_usage(key) for key in KEYS.streams.values())


def test_what_is_older_than_the_retention_goes_and_what_is_younger_stays(
    client: Any, connect: Connector, writer: Writer
) -> None:
    writer.add(7.1, entries=350)
    kept = writer.add(6.9, entries=150)
    acknowledge(client, DELIVERED, 500)
    assert trim(connect, PARTITION, WEEK) == Trimmed(350, ())
    assert ids(client, DELIVERED) == kept
    assert client.hget(KEYS.ledger, "delivered:trimmed") == b"350"
    assert client.hget(KEYS.watch, "delivered:trimmed_below").decode() == kept[0]
    assert trim(connect, PARTITION, WEEK) == Trimmed(0, ())


def test_a_stream_that_is_trimmed_empty_is_known_to_be_trimmed_through_its_last_entry(
    client: Any, connect: Connector, writer: Writer
) -> None:
    [last] = writer.add(8)
    acknowledge(client, DELIVERED, 1)
    assert trim(connect, PARTITION, WEEK).entries == 1
    milliseconds, _, sequence = last.partition("-")
    assert client.hget(KEYS.watch, "delivered:trimmed_below").decode() == f"{milliseconds}-{int(sequence) + 1}"


def test_neither_unread_nor_pending_entries_go_however_old_they_are(
    client: Any, connect: Connector, writer: Writer
) -> None:
    writer.add(9, entries=10)
    acknowledge(client, DELIVERED, 4)
    pending = [entry_id.decode() for entry_id in read(client, DELIVERED, 3)]
    client.xack(DELIVERED, GROUP, pending[1])  # out of turn: what is behind a pending entry stays with it
    trimmed = trim(connect, PARTITION, WEEK)
    assert trimmed.entries == 4
    assert ids(client, DELIVERED)[0] == pending[0]
    assert len(ids(client, DELIVERED)) == 6
    assert trimmed.blocked == (Blocked(type="delivered", group=GROUP, why="age", since=pending[0], events=12),)
    client.xack(DELIVERED, GROUP, *pending)
    acknowledge(client, DELIVERED, 3)
    assert trim(connect, PARTITION, WEEK) == Trimmed(6, ())


def test_another_group_that_has_not_acknowledged_holds_entries_back_and_is_named_once_per_change(
    client: Any, valkey: RealValkey, writer: Writer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.xgroup_create(DELIVERED, "mirror\nforged", "0")
    old = writer.add(9, entries=20)
    acknowledge(client, DELIVERED, 20)
    acknowledge(client, DELIVERED, 5, group="mirror\nforged")
    stream = changed(settings(tmp_path), "stream", retention_days=7, max_bytes=0).stream
    directory = Directory(
        settings(tmp_path).directory,
        settings(tmp_path).names,
        settings(tmp_path).rows,
        "worker-1",
        partition=PARTITION,
        archiving=False,
    )
    chores = Chores(connector(stream, valkey.url), stream, directory)
    with caplog.at_level(logging.INFO):
        chores.run()
        chores.run()
        assert ids(client, DELIVERED) == old[5:]
        shown = run("status", "--redis", valkey.url, cwd=tmp_path).stdout
        acknowledge(client, DELIVERED, 15, group="mirror\nforged")
        chores.run()
    expected = f"group mirror\\nforged holds up the trimming of delivered by age: 30 events from {old[5]} on"
    assert expected in " ".join(shown.split())
    assert [record.getMessage() for record in caplog.records] == [
        "stream.trimmed entries=5",
        f'stream.trim_blocked type=delivered group="mirror\\nforged" why=age since={old[5]} events=30',
        "stream.trimmed entries=15",
        'stream.trim_unblocked type=delivered group="mirror\\nforged" why=age',
    ]


def test_a_group_that_was_set_back_keeps_what_it_will_read_again(
    client: Any, connect: Connector, writer: Writer
) -> None:
    old = writer.add(9, entries=20)
    acknowledge(client, DELIVERED, 20)
    client.xgroup_setid(DELIVERED, GROUP, old[9])
    assert trim(connect, PARTITION, WEEK).entries == 10
    assert read(client, DELIVERED, 1) == [old[10].encode()]


@pytest.mark.parametrize("group", ["made", "destroyed"])
def test_nothing_goes_while_the_workers_have_no_group(
    client: Any, connect: Connector, writer: Writer, group: str
) -> None:
    writer.add(9, entries=20)
    acknowledge(client, DELIVERED, 20)
    client.xgroup_destroy(DELIVERED, GROUP)
    if group == "made":
        client.xgroup_create(DELIVERED, GROUP, "0")
    trimmed = trim(connect, PARTITION, WEEK)
    assert (trimmed.entries, [blocked.group for blocked in trimmed.blocked]) == (0, [GROUP])


def test_above_the_limit_of_memory_the_oldest_go_until_it_is_kept(
    client: Any, connect: Connector, writer: Writer
) -> None:
    older = writer.add(2, entries=3000, size=100)
    newer = writer.add(1, entries=3000, event_type="bounce", size=100)
    acknowledge(client, DELIVERED, 3000)
    acknowledge(client, BOUNCE, 3000)
    limit = used(client) * 2 // 3
    trimmed = trim(connect, PARTITION, Limits(days=7, bytes=limit))
    assert trimmed.blocked == ()
    assert limit * 0.9 < used(client) <= limit
    assert ids(client, BOUNCE) == newer
    assert ids(client, DELIVERED) == older[trimmed.entries :]
    trim(connect, PARTITION, Limits(days=0, bytes=limit // 4))
    assert used(client) <= limit // 4
    assert not ids(client, DELIVERED)  # the newer stream was next
    left = ids(client, BOUNCE)
    assert left == newer[-len(left) :]


def test_above_the_limit_of_memory_what_is_not_acknowledged_stays_and_its_group_is_named(
    client: Any, connect: Connector, writer: Writer
) -> None:
    added = writer.add(1, entries=2000)
    acknowledge(client, DELIVERED, 1000)
    trimmed = trim(connect, PARTITION, Limits(days=0, bytes=1000))
    assert 900 <= trimmed.entries <= 1000  # whole nodes
    assert ids(client, DELIVERED)[-1000:] == added[1000:]
    [blocked] = trimmed.blocked
    assert (blocked.group, blocked.why, blocked.since, blocked.events) == (GROUP, "memory", added[1000], 2000)


def test_without_limits_nothing_goes(client: Any, connect: Connector, writer: Writer) -> None:
    writer.add(9000, entries=200)
    acknowledge(client, DELIVERED, 200)
    assert trim(connect, PARTITION, Limits(days=0, bytes=0)) == Trimmed(0, ())
    assert client.xlen(DELIVERED) == 200


def test_more_than_one_call_may_trim_goes_in_several(client: Any, connect: Connector, writer: Writer) -> None:
    writer.add(9, entries=25_000)
    acknowledge(client, DELIVERED, 25_000)
    client.config_resetstat()
    assert trim(connect, PARTITION, WEEK).entries == 25_000
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] >= 3
    assert client.xlen(DELIVERED) == 0


def test_dead_letters_stay(client: Any, connect: Connector, writer: Writer) -> None:
    client.xadd(KEYS.dead, {"type": "bounce"}, id="1-1")
    trim(connect, PARTITION, Limits(days=1, bytes=1))
    assert ids(client, KEYS.dead) == ["1-1"]


def test_notes_on_dead_letters_go_with_the_entries_that_they_can_be_on(
    client: Any, connect: Connector, writer: Writer
) -> None:
    ages = [int(entry_id.partition("-")[0]) for entry_id in [*writer.add(9, 1), *writer.add(6, 1, "bounce")]]
    client.delete(KEYS.settled)
    for number, age in enumerate([age + later for age in ages for later in (-10, 10)]):
        client.xadd(KEYS.settled, {"type": "bounce", "id": "1-1", "index": number}, id=f"{age}-{number}")

    def left() -> list[bytes]:
        return [fields[b"index"] for _, fields in client.xrange(KEYS.settled)]

    trim(connect, PARTITION, WEEK)
    assert left() == [b"1", b"2", b"3"]
    acknowledge(client, DELIVERED, 1)
    trim(connect, PARTITION, WEEK)
    assert left() == [b"3"]
    acknowledge(client, BOUNCE, 1)
    trim(connect, PARTITION, Limits(days=5, bytes=0))
    assert left() == []


def test_a_full_server_is_trimmed(client: Any, connect: Connector, writer: Writer) -> None:
    writer.add(9, entries=10)
    acknowledge(client, DELIVERED, 10)
    client.config_set("maxmemory", 1)
    assert trim(connect, PARTITION, WEEK).entries == 10


@pytest.mark.parametrize("broken", ["watch", "ledger", "settled", "counter"])
def test_what_cannot_be_written_stops_the_trimming_before_it_begins(
    client: Any, connect: Connector, writer: Writer, broken: str
) -> None:
    writer.add(9, entries=10)
    acknowledge(client, DELIVERED, 10)
    if broken == "counter":
        client.hset(KEYS.ledger, "bounce:trimmed", "1.5")
    else:
        key = {"watch": KEYS.watch, "ledger": KEYS.ledger, "settled": KEYS.settled}[broken]
        client.delete(key)
        client.set(key, "somebody else's")
    with pytest.raises(StreamUnavailable, match="WRONG"):
        trim(connect, PARTITION, WEEK)
    assert client.xlen(DELIVERED) == 10


@pytest.mark.parametrize(
    ("added", "acknowledged", "left"),
    [
        pytest.param(["5-18446744073709551615", "6-0"], 1, 2, id="the largest sequence: one entry more stays"),
        pytest.param(["5-9007199254740993", "5-9007199254740994", "6-0"], 2, 2, id="beyond what a double tells apart"),
        pytest.param(["9-1", "10-1", "100-1"], 2, 1, id="numbers, not texts"),
    ],
)
def test_ids_of_any_size_are_told_apart(
    client: Any, connect: Connector, added: list[str], acknowledged: int, left: int
) -> None:
    for number, entry_id in enumerate(added, 1):
        client.xadd(BOUNCE, {"events": "[]", "n": 1, "at": number}, id=entry_id)
    acknowledge(client, BOUNCE, acknowledged)
    trim(connect, PARTITION, WEEK)
    assert ids(client, BOUNCE) == added[-left:]
