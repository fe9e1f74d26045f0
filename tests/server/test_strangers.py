"""Whoever can write to the server cannot make a worker touch a file that is not its directory's."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from tests.server.fleet import KEYS, Fleet
from worker.errors import ServerRefused
from worker.loop import Worker

GARBAGE = [
    b"", b"x", b"-1", b"\xff\xfe", b"\0", b"[]", b"5", b"null", b'{"batch":-1}', b'{"batch":9007199254740993}',
    b'{"batch":1e400}', b'{"batch":"1"}', b'{"files":5}', b'{"files":{"bounce":5}}', b'{"files":{"other":{}}}',
    b'{"closing":{}}', b'{"closing":[5]}', b'{"total":{"bounce":"x"}}', b"[" * 100_000, b'{"files":' * 50_000,
    b'{"batch":5,"through":{"bounce":"x"}}', b'{"batch":' + b"9" * 10_000 + b"}",
]  # fmt: skip


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file beside the directory of accounting files, last read and written in 2001."""
    path = tmp_path / "private" / "secret"
    path.parent.mkdir()
    path.write_text("secret\n" * 100)
    os.utime(path, (1e9, 1e9))
    return path


def facts(path: Path) -> tuple[Any, ...]:
    """Return all that is known of a file, its content last."""
    here = path.lstat()
    siblings = sorted(each.name for each in path.parent.iterdir()) if path.parent.name == "private" else []
    return here.st_ino, here.st_mode, here.st_nlink, here.st_atime, here.st_mtime, here.st_ctime, siblings


def field(worker: Worker) -> str:
    return f"{worker._stream._consumer} {worker._directory.id}"


def name_stranger(fleet: Fleet, worker: Worker, name: str, inode: int, part: str) -> None:
    """Let the record of a worker name a file, as the open one of its type or as one that is to be sealed."""
    record = json.loads(fleet.client.hget(KEYS.records, field(worker)))
    file = {"name": name, "inode": inode, "length": 3, "rows": 1, "opened_ms": 1}
    if part == "files":
        record["files"]["delivered"] = file
    else:
        record["closing"] = [{"event_type": "delivered", "reason": "size", "file": file}]
    record["batch"] += 1
    fleet.client.hset(KEYS.records, field(worker), json.dumps(record, separators=(",", ":")))


def lose_name(fleet: Fleet, worker: Worker) -> None:
    """Fence a live worker off, so that it registers again and takes what the server has for its record."""
    fleet.client.hset(KEYS.owners, worker._stream._consumer, f"1 {worker._directory.id}")


@pytest.mark.parametrize("part", ["files", "closing"])
@pytest.mark.parametrize("name", ["../../private/secret", "{}", "notes.txt", "hidden/../notes.txt"])
def test_an_own_record_that_names_a_stranger_is_refused_by_key_and_field_and_nothing_is_touched(
    fleet: Fleet, secret: Path, name: str, part: str
) -> None:
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(9)
    fleet.work(worker)
    notes = fleet.path / "delivered" / "notes.txt"  # in the same directory, and none of ours
    notes.write_text("notes\n")
    target = notes if "notes" in name else secret
    before, good = (facts(secret), facts(notes)), fleet.client.hget(KEYS.records, field(worker))
    name_stranger(fleet, worker, name.format(secret), target.stat().st_ino, part)
    lose_name(fleet, worker)
    fleet.publisher.publish_some(3)
    with pytest.raises(ServerRefused, match=rf"(?s){KEYS.records}.*worker-1 .*(name|delivered)"):
        fleet.work(worker)
    assert (facts(secret), facts(notes)) == before
    fleet.die(worker)
    with pytest.raises(ServerRefused, match=KEYS.records):
        fleet.worker("worker-1")  # a start is no other than a registration
    fleet.workers[-1].release()
    assert (facts(secret), facts(notes)) == before
    fleet.client.hset(KEYS.records, field(worker), good)
    again = fleet.worker("worker-1")
    fleet.work(again)
    again.stop()
    again.run()
    notes.unlink()
    fleet.check()


@pytest.mark.parametrize("part", ["files", "closing"])
@pytest.mark.parametrize("name", ["../../private/secret", "notes.txt"])
def test_a_stranger_in_a_neighbours_record_is_told_and_left_alone(
    fleet: Fleet, secret: Path, name: str, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    dead, worker = fleet.worker("dead"), fleet.worker("worker-1")
    fleet.publisher.publish_some(9)
    fleet.work(dead)
    fleet.die(dead)
    notes = fleet.path / "delivered" / "notes.txt"
    notes.write_text("notes\n")
    before, good = (facts(secret), facts(notes)), fleet.client.hget(KEYS.records, field(dead))
    target = notes if "notes" in name else secret
    name_stranger(fleet, dead, name, target.stat().st_ino, part)
    fleet.publisher.publish_some(9)
    with caplog.at_level(logging.WARNING):
        worker._look_around()
        worker._look_around()
    told = [each for each in caplog.messages if each.startswith("record.")]
    assert len(told) == 1, caplog.messages
    assert KEYS.records in told[0]
    assert (facts(secret), facts(notes)) == before
    fleet.client.hset(KEYS.records, field(dead), good)
    notes.unlink()
    worker._look_around()
    fleet.work(worker)
    worker.stop()
    worker.run()
    fleet.check()


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: repr(value[:30]))
def test_a_neighbours_record_of_garbage_ends_nobody_else_and_its_files_wait_for_it(
    fleet: Fleet, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    dead = fleet.worker("dead")
    fleet.publisher.publish_some(9)
    fleet.work(dead)
    fleet.die(dead)
    good = fleet.client.hget(KEYS.records, field(dead))
    fleet.client.hset(KEYS.records, field(dead), garbage)
    fleet.publisher.publish_some(9)
    with caplog.at_level(logging.WARNING):
        worker = fleet.worker("worker-1")
        fleet.work(worker)
    told = [each for each in caplog.messages if each.startswith("record.unreadable")]
    assert len(told) == 1, caplog.messages
    assert KEYS.records in told[0]
    assert "dead" in told[0]
    fleet.check()
    fleet.client.hset(KEYS.records, field(dead), good)
    worker._look_around()
    worker.stop()
    worker.run()
    fleet.check()
    assert not [path for path in fleet.owned() if os.access(path, os.W_OK) and path.stat().st_mode & 0o200]


@pytest.mark.parametrize(
    "consumer", ["x/../../private/secret", "[/red]", "\x1b[2J", "é", "a" * 3000, b"\xff"], ids=repr
)
def test_entries_of_a_consumer_of_any_name_are_taken_over(fleet: Fleet, secret: Path, consumer: Any) -> None:
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(9)
    raw = consumer if isinstance(consumer, bytes) else consumer.encode()
    for key in KEYS.streams.values():
        fleet.client.xreadgroup("accounting", raw, {key: ">"})
    fleet.client.hset(KEYS.owners, raw, f"1 {worker._directory.id}")
    fleet.client.hset(KEYS.records, raw + f" {worker._directory.id}".encode(), json.dumps({"batch": 1}))
    before = facts(secret)
    worker._look_around()
    fleet.work(worker)
    fleet.check()
    assert facts(secret) == before
