"""The scripts register and commit on a real server: every answer, and what an error leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.streams import register
from tests.support.workers import PARTITION, HandClock, drain, make_worker, settings
from worker import records
from worker.batch import Part, Renderer
from worker.errors import Behind, Fenced, NameTaken, ServerRefused
from worker.records import Record
from worker.stream import Stream
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)
MakeStream = Callable[..., Stream]


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def make_stream(valkey: RealValkey, tmp_path: Path) -> MakeStream:
    def make(consumer: str = "worker-1") -> Stream:
        stream = Stream(settings(tmp_path).stream, consumer, url=valkey.url)
        stream.open()
        return stream

    return make


def commit(stream: Stream, record: Record, parts: dict[str, Part] | None = None, *, restore: bool = False) -> None:
    stream.send_commit(record, parts or {}, restore=restore)
    stream.receive_commit()


def read_parts(stream: Stream, tmp_path: Path) -> dict[str, Part]:
    stream.request_new(100, block=False)
    batch = Renderer(settings(tmp_path).rows).render(stream.receive_entries(), pending=False)
    assert batch is not None
    return dict(batch.parts)


def pending(client: Any) -> int:
    return sum(client.xpending(key, "accounting")["pending"] for key in KEYS.streams.values())


def test_a_commit_acknowledges_records_counts_and_renews_the_lease_in_one_step(
    client: Any, make_stream: MakeStream, tmp_path: Path
) -> None:
    stream = make_stream()
    register(stream, "dir")
    Publisher(client, PARTITION).publish_some(6, per_batch=2, recipients=3)
    parts = read_parts(stream, tmp_path)
    assert pending(client) == 6
    commit(stream, Record(batch=1), parts)
    assert pending(client) == 0
    record = records.decode(client.hget(KEYS.records, "worker-1 dir"))
    assert record is not None
    assert (record.batch, record.files, record.committed_ms is not None) == (1, {}, True)
    assert client.hmget(KEYS.ledger, "bounce:events", "bounce:rows", "bounce:rows:dir") == [b"4", b"12", b"12"]
    assert 0 < client.pttl(KEYS.lease("worker-1")) <= 30_000


def test_a_commit_that_ran_before_changes_nothing(client: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    stream = make_stream()
    register(stream, "dir")
    Publisher(client, PARTITION).publish_some(1)
    parts = read_parts(stream, tmp_path)
    commit(stream, Record(batch=1), parts)
    with pytest.raises(Fenced):
        commit(stream, Record(batch=1), parts)
    assert client.hget(KEYS.ledger, "delivered:rows") == b"1"


def test_trap_2_a_commit_under_an_older_epoch_is_fenced(client: Any, make_stream: MakeStream) -> None:
    old, new = make_stream(), make_stream()
    first = register(old, "dir").epoch
    second = register(new, "dir").epoch
    assert int(second) > int(first)
    with pytest.raises(Fenced):
        commit(old, Record(batch=1))
    commit(new, Record(batch=1))


def test_trap_14_an_epoch_is_never_given_out_again_even_when_the_server_forgot_it(
    client: Any, make_stream: MakeStream
) -> None:
    stream = make_stream()
    first = int(register(stream, "dir").epoch)
    client.set(KEYS.epoch, 0)
    assert int(register(stream, "dir").epoch) > first


def test_a_server_that_lost_commits_answers_behind_until_the_record_is_put_back(
    client: Any, make_stream: MakeStream
) -> None:
    stream = make_stream()
    register(stream, "dir")
    with pytest.raises(Behind):
        commit(stream, Record(batch=5))
    commit(stream, Record(batch=5), restore=True)
    commit(stream, Record(batch=6))


def test_a_renewal_is_refused_where_another_directory_has_the_name(make_stream: MakeStream) -> None:
    first, second = make_stream(), make_stream()
    register(first, "one")
    register(second, "two")
    with pytest.raises(NameTaken, match="directory two"):
        register(first, "one", renew=True)


def test_trap_15_records_are_kept_by_directory(client: Any, make_stream: MakeStream) -> None:
    stream = make_stream()
    register(stream, "one")
    commit(stream, Record(batch=1))
    assert register(stream, "two").record is None
    record = register(stream, "one").record
    assert record is not None
    assert record.batch == 1


def test_trap_23_a_worker_starts_on_a_full_server_drains_it_and_stops(
    client: Any, valkey: RealValkey, tmp_path: Path
) -> None:
    configured = settings(tmp_path / "files")
    publisher = Publisher(client, PARTITION)
    worker = make_worker(configured, None, HandClock(), url=valkey.url)
    worker.recover()
    worker.release()
    publisher.publish_some(60)
    client.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError, match="command not allowed"):
        publisher.publish_some(1)
    worker = make_worker(configured, None, HandClock(), url=valkey.url)
    assert worker.recover()
    drain(worker, 60)
    worker.step()  # idle: the lease is renewed
    worker.stop()
    worker.run()
    assert pending(client) == 0
    assert sum(recipients_in(tmp_path / "files").values()) == 60


def test_a_batch_of_20_000_entries_is_committed_at_once(client: Any, make_stream: MakeStream, tmp_path: Path) -> None:
    stream = make_stream()
    register(stream, "dir")
    pipeline = client.pipeline(transaction=False)
    for number in range(20_000):
        event = f'[{{"type":"d","v":1,"eventId":"e:{number}:0","timeLogged":1,"rcpts":[{{"rcpt":"a@b"}}]}}]'
        pipeline.xadd(KEYS.streams["delivered"], {"events": event, "n": 1, "at": number + 1})
    pipeline.execute()
    stream.request_new(20_000, block=False)
    batch = Renderer(settings(tmp_path).rows).render(stream.receive_entries(), pending=False)
    assert batch is not None
    commit(stream, Record(batch=1), dict(batch.parts))
    assert pending(client) == 0


def test_setting_up_twice_changes_nothing(client: Any, make_stream: MakeStream) -> None:
    make_stream()
    before = {key: client.dump(key) for key in client.keys("*")}
    make_stream()
    assert {key: client.dump(key) for key in client.keys("*")} == before


def test_trap_32_every_key_that_scripts_name_exists_from_the_start(client: Any, make_stream: MakeStream) -> None:
    make_stream()
    names = {KEYS.dead, KEYS.producers, KEYS.epoch, KEYS.owners, KEYS.records, KEYS.ledger, KEYS.wanted, KEYS.watch}
    names |= {KEYS.settled, KEYS.history, KEYS.written, KEYS.directories}
    assert {key.decode() for key in client.keys("*")} == names | set(KEYS.streams.values())


def test_an_evicting_server_is_refused(client: Any, make_stream: MakeStream) -> None:
    stream = make_stream()
    client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ServerRefused, match="allkeys-lru deletes whole streams"):
        stream.check_server()


def test_a_server_without_appendonly_is_warned_about_once_until_it_has_it_again(
    client: Any, make_stream: MakeStream
) -> None:
    stream = make_stream()
    assert stream.check_server() == []
    for _ in range(2):
        client.config_set("appendonly", "no")
        [warning] = stream.check_server()
        assert "appendonly is off" in warning
        assert stream.check_server() == []  # it is known
        stream.open()
        assert stream.check_server() == []
        client.config_set("appendonly", "yes")
        assert stream.check_server() == []


def test_a_stored_record_that_cannot_be_read_refuses_the_start_and_names_its_key(
    client: Any, make_stream: MakeStream
) -> None:
    stream = make_stream()
    client.hset(KEYS.records, "worker-1 dir", '{"batch":"x"}')
    with pytest.raises(ServerRefused, match=r"records: the record of worker-1 dir cannot be read"):
        register(stream, "dir")
