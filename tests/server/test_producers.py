"""Producers on a real server: shown whatever they say of themselves, forgotten when silent, reported when back."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_command_line import run
from tests.support.events import encode, make_event
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.users import add_worker
from tests.support.workers import PARTITION, changed, settings
from worker.chores import Chores
from worker.directory import Directory
from worker.errors import StreamUnavailable
from worker.settings import StreamSettings
from worker.stream import Stream
from worker.stream.keys import PLACEHOLDER, Keys
from worker.stream.link import Connector, connector
from worker.stream.producers import prune_producers, read_producers

KEYS = Keys.of(PARTITION)
DAY_MS = 86_400_000
NOTE = {
    "at": 1_795_373_309_671, "node": "mx1", "pid": 4711, "spoolBytes": 1_234_567, "published": 11, "batches": 7,
    "spooled": 5, "drained": 3, "dropped": 2, "unsafe": 1, "skipped": 0, "latencyMs": 1.25, "latencyMaxMs": 99.5,
    "claimed": ["mx1-old"], "claimedBytes": 7_000_000, "claimedDrained": 60, "later": {"versions": ["say", "more"]},
}  # fmt: skip


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def stream(tmp_path: Path) -> StreamSettings:
    return settings(tmp_path).stream


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    configured = settings(tmp_path)
    return Directory(
        configured.directory, configured.names, configured.rows, "worker-1", partition=PARTITION, archiving=False
    )


@pytest.fixture
def connect(stream: StreamSettings, valkey: RealValkey) -> Connector:
    return connector(stream, valkey.url)


def days_ago(client: Any, days: float) -> int:
    seconds, microseconds = client.time()
    return int(seconds * 1000 + microseconds // 1000 - days * DAY_MS)


def add(client: Any, name: str, days: float, *, noted: float | None = None) -> None:
    """Add a producer as the publish script leaves it, and a note of so many days ago."""
    client.hset(KEYS.producers, name, f"3:{days_ago(client, days)}")
    if noted is not None:
        add_note(client, name, noted)


def add_note(client: Any, name: str, days: float) -> None:
    client.hset(KEYS.nodes, name, json.dumps(NOTE | {"at": days_ago(client, days)}))


def names(client: Any, key: str) -> set[str]:
    return {name.decode() for name in client.hkeys(key)}


def test_a_producer_is_shown_with_all_that_its_note_says(client: Any, valkey: RealValkey, tmp_path: Path) -> None:
    Publisher(client, PARTITION, "mx1-abc").publish_some(3)
    client.hset(KEYS.producers, PLACEHOLDER, "")
    client.hset(KEYS.nodes, "mx1-abc", json.dumps(NOTE))
    result = run("producers", "--json", "--redis", valkey.url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    [producer] = json.loads(result.stdout)
    seen_ms = producer.pop("seen_ms")
    assert 0 <= days_ago(client, 0) - seen_ms < 60_000
    assert producer == {
        "name": "mx1-abc",
        "seq": 3,
        "note": {name: value for name, value in NOTE.items() if name != "later"},
        "note_is_unreadable": False,
        "claimed_by": None,
        "holds": ["mx1-old"],
    }
    shown = run("producers", "--redis", valkey.url, cwd=tmp_path).stdout
    [line] = [line for line in shown.splitlines() if "mx1-abc" in line]
    backlog, drained = " 8,234,567 ", " 63 "  # with those of claimed spools
    for text in ("mx1 ", " 4711 ", " 3 ", "2026-11-22 18:48:29", backlog, drained, " 11 ", " 2 ", "1.25", "99.50"):
        assert text in line


def test_the_backlog_of_a_dead_producer_is_that_of_the_last_one_that_claimed_it(
    client: Any, valkey: RealValkey, tmp_path: Path
) -> None:
    for name, later, claimed in (
        ("dead", 0, []), ("claimer", 1, ["gone", "dead"]), ("last", 2, ["dead", "gone", "claimer"]), ("other", 3, []),
    ):  # fmt: skip
        client.hset(KEYS.nodes, name, json.dumps(NOTE | {"at": 1_795_373_309_671 + later, "claimed": claimed}))
    found = json.loads(run("producers", "--json", "--redis", valkey.url, cwd=tmp_path).stdout)
    claims = {each["name"]: (each["claimed_by"], each["holds"]) for each in found}
    assert claims == {
        "dead": ("last", []),
        "claimer": ("last", []),
        "last": (None, ["claimer", "dead", "gone"]),
        "other": (None, []),
    }
    shown = run("producers", "--redis", valkey.url, cwd=tmp_path).stdout.splitlines()
    lines = {name: line for line in shown for name in claims if f" {name} " in line}
    assert " claimed " in lines["dead"]
    assert " claimed " in lines["claimer"]
    assert " 8,234,567 " in lines["last"]
    assert " 1,234,567 " in lines["other"]


def test_producers_without_a_note_and_notes_without_a_producer_are_shown(client: Any, connect: Connector) -> None:
    add(client, "publishes-only", 1)
    add_note(client, "notes-only", 1)
    found = {producer.name: producer for producer in read_producers(connect, PARTITION)}
    assert set(found) == {"publishes-only", "notes-only"}
    assert (found["publishes-only"].seq, found["publishes-only"].note) == (3, None)
    note = found["notes-only"].note
    assert note is not None
    assert (found["notes-only"].seq, note.pid) == (None, 4711)


HOSTILE_NOTES = [
    b"", b"{", b"\xff", b"null", b"[" * 100_000, b'{"x":' * 50_000, b'{"published":-1}', b'{"published":"\x1b[2J"}',
    b'{"at":1e999}', b'{"at":99999999999999999999999}', b'{"latencyMs":NaN}', b'{"node":5}',
    b'{"claimed":"x"}', b'{"claimed":[1]}',
]  # fmt: skip


def test_hostile_notes_numbers_and_names_cannot_hide_or_forge_a_line(
    client: Any, valkey: RealValkey, tmp_path: Path
) -> None:
    for index, note in enumerate(HOSTILE_NOTES):
        client.hset(KEYS.nodes, f"bad{index:02}", note)
    client.hset(KEYS.nodes, "a", json.dumps({"node": "\x1b[2J\n[red]mx\u202e", "pid": 2**53}))
    client.hset(KEYS.producers, b"\xff\x1b[0m\nforged", "999999999999999:999999999999999")
    client.hset(KEYS.producers, "unreadable", "x:y")
    result = run("producers", "--redis", valkey.url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert all(char.isprintable() or char == "\n" for char in result.stdout)
    assert "\\x1b[2J\\n[red]mx\\u202e" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.strip("─ ")]
    assert len(lines) == 1 + len(HOSTILE_NOTES) + 3  # a heading
    assert sum(line.startswith("unreadable note") for line in lines) == len(HOSTILE_NOTES)
    producers = json.loads(run("producers", "--json", "--redis", valkey.url, cwd=tmp_path).stdout)
    assert len(producers) == len(HOSTILE_NOTES) + 3


def test_silent_producers_and_their_notes_are_forgotten_and_all_others_kept(client: Any, connect: Connector) -> None:
    add(client, "silent", 30.1)
    add(client, "silent-noted", 40, noted=31)
    add(client, "silent-unreadable-note", 40)
    client.hset(KEYS.nodes, "silent-unreadable-note", b"[" * 5_000)
    add(client, "silent-clock-ahead", 40, noted=-31)
    add_note(client, "note-of-nobody", 31)
    add(client, "recent", 29.9)
    add(client, "recent-old-note", 1, noted=90)
    add(client, "idle", 40, noted=0.1)  # alive, though no mail was sent
    add(client, "server-clock-was-ahead", -3)
    add_note(client, "new-note", 0)
    client.hset(KEYS.producers, mapping={PLACEHOLDER: "", "unreadable": "x"})
    client.hset(KEYS.nodes, "unreadable-note", b'{"node":"mx1"}')
    assert prune_producers(connect, PARTITION, 30) == 5
    kept = {"recent", "recent-old-note", "idle", "server-clock-was-ahead", PLACEHOLDER, "unreadable"}
    assert names(client, KEYS.producers) == kept
    assert names(client, KEYS.nodes) == {"recent-old-note", "idle", "new-note", "unreadable-note"}
    assert prune_producers(connect, PARTITION, 30) == 0


def test_many_producers_are_forgotten_in_many_short_scripts(client: Any, connect: Connector) -> None:
    old, new = days_ago(client, 31), days_ago(client, 29)
    client.hset(KEYS.producers, mapping={f"p{number}": f"1:{old if number % 2 else new}" for number in range(20_000)})
    client.config_resetstat()
    assert prune_producers(connect, PARTITION, 30) == 10_000
    assert names(client, KEYS.producers) == {f"p{number}" for number in range(0, 20_000, 2)}
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] >= 20


def test_a_producer_that_comes_back_after_it_was_forgotten_is_told_of_a_gap(client: Any, connect: Connector) -> None:
    publisher = Publisher(client, PARTITION, "mx1-abc")
    publisher.publish_some(3)
    client.hset(KEYS.producers, "mx1-abc", f"3:{days_ago(client, 31)}")
    before = client.hgetall(KEYS.ledger)
    assert prune_producers(connect, PARTITION, 30) == 1
    batch = ("mx1-abc", 4, "", "bounce", 1, encode([make_event("bounce", 4)]))
    assert client.evalsha(publisher._sha, len(publisher._keys), *publisher._keys, *batch) == [b"GAP", 0]
    assert client.hgetall(KEYS.ledger) == before
    goes_on = ("mx1-abc", 4, "0 0 0", *batch[3:])
    assert client.evalsha(publisher._sha, len(publisher._keys), *publisher._keys, *goes_on) == [b"OK"]
    assert client.evalsha(publisher._sha, len(publisher._keys), *publisher._keys, *goes_on) == [b"DUPLICATE", 4]


@pytest.mark.parametrize("key", [KEYS.producers, KEYS.nodes])
def test_a_key_of_the_wrong_type_stops_it_before_anything_is_removed(client: Any, connect: Connector, key: str) -> None:
    other = KEYS.nodes if key == KEYS.producers else KEYS.producers
    add(client, "silent", 40, noted=40)
    client.delete(key)
    client.set(key, "x")
    with pytest.raises(StreamUnavailable, match="WRONGTYPE"):
        prune_producers(connect, PARTITION, 30)
    assert names(client, other) == {"silent"}


def test_on_a_full_server_producers_can_be_forgotten(client: Any, connect: Connector) -> None:
    add(client, "silent", 40)
    client.config_set("maxmemory", 1)
    assert prune_producers(connect, PARTITION, 30) == 1


def test_the_workers_user_may_list_and_forget_producers(
    client: Any, valkey: RealValkey, stream: StreamSettings
) -> None:
    connect = connector(stream, add_worker(client, valkey.url))
    add(client, "silent", 40)
    assert len(read_producers(connect, PARTITION)) == 1
    assert prune_producers(connect, PARTITION, 30) == 1


def test_the_chore_forgets_after_the_configured_days_and_says_so(
    client: Any, valkey: RealValkey, directory: Directory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream(settings(tmp_path).stream, "worker-1", url=valkey.url)
    stream.open()
    stream.close()
    add(client, "silent", 8)
    add(client, "recent", 6)
    configured = changed(settings(tmp_path), "stream", producer_days=7).stream
    chores = Chores(connector(configured, valkey.url), configured, directory)
    with caplog.at_level(logging.INFO):
        chores.run()
        chores.run()
    assert names(client, KEYS.producers) == {"recent", PLACEHOLDER}
    assert [record.getMessage() for record in caplog.records] == ["producers.pruned producers=1 silent_days=7"]


def test_a_chore_leaves_a_server_that_is_away_for_the_next_time(
    stream: StreamSettings, directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    Chores(connector(stream, "redis://127.0.0.1:1/0"), stream, directory).run()
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert [record.getMessage().split(" why=")[0] for record in caplog.records] == [
        "chores.postponed chore=prune_producers",
        "chores.postponed chore=retire_consumers",
        "chores.postponed chore=trim_streams",
        "chores.postponed chore=drop_letters",
        "chores.postponed chore=find_losses",
        "chores.postponed chore=forecast_memory",
        "chores.postponed chore=compare_clocks",
    ]
