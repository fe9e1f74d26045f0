"""A server that restarts without the tail of its commands: no acknowledged row goes, no epoch comes again."""

from typing import Any

import pytest

from schemas.events import TYPES
from tests.server.fleet import KEYS, Fleet
from tests.support.files import recipients_in
from tests.support.servers import RealValkey
from tests.support.streams import register
from tests.support.workers import drain, settings
from worker.errors import Fenced, StreamUnavailable
from worker.records import FileState, Record
from worker.stream import Stream
from worker.stream.link import Link, connector
from worker.stream.retirement import RETIRED, retire_on

FILE = FileState(name="d.1", inode=1, length=5, opened_ms=1)


def open_stream(fleet: Fleet, consumer: str) -> Stream:
    stream = Stream(settings(fleet.path).stream, consumer, url=fleet.url)
    stream.open()
    return stream


def commit(stream: Stream, record: Record) -> None:
    stream.send_commit(record, {})
    stream.receive_commit()


def epoch_of(fleet: Fleet, consumer: str) -> int:
    return int(fleet.client.hget(KEYS.owners, consumer).split()[0])


def test_trap_9_rows_that_were_acknowledged_stay_where_the_server_forgot_them_and_lost_the_reply_to_the_last_commit(
    fleet: Fleet, valkey: RealValkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(9)
    drain(worker, 9)
    copy = valkey.copy()
    assert worker.recover(StreamUnavailable("reset"))  # an epoch that the copy does not have
    fleet.publisher.publish_some(9)
    drain(worker, 18)
    acknowledged = recipients_in(fleet.path)
    assert sum(acknowledged.values()) == 18

    receive = Stream.receive_commit

    def forget(stream: Stream) -> None:
        receive(stream)
        monkeypatch.setattr(Stream, "receive_commit", receive)
        valkey.roll_back(copy)
        raise StreamUnavailable("reply lost")

    monkeypatch.setattr(Stream, "receive_commit", forget)
    fleet.publisher.publish_some(3)
    with pytest.raises(StreamUnavailable) as lost:
        worker.step()
    assert worker.recover(lost.value)
    assert "server.lost_its_tail" in caplog.text
    assert recipients_in(fleet.path) == acknowledged
    for events in fleet.publisher.published.values():
        del events[6:]  # those of the last batch: it was never acknowledged, and is kept aside
    assert len(list((fleet.path / "recovered").glob("*.tail"))) == 3
    fleet.publisher.use(fleet.client)
    fleet.publisher.restart()
    fleet.publisher.publish_some(9)
    fleet.work(worker)
    fleet.check()


def test_trap_14_a_commit_from_before_the_consumer_was_retired_is_refused(fleet: Fleet) -> None:
    late, new = open_stream(fleet, "worker-1"), open_stream(fleet, "worker-1")
    register(late, "dir")
    link = Link(connector(settings(fleet.path).stream, fleet.url))
    link.open()
    assert retire_on(link, KEYS, "worker-1") == RETIRED
    link.close()
    register(new, "dir")
    with pytest.raises(Fenced):
        commit(late, Record(batch=1))
    commit(new, Record(batch=1))


def test_trap_33_a_server_that_forgot_an_epoch_gives_out_another_one_and_refuses_a_late_commit_of_the_old_one(
    fleet: Fleet, valkey: RealValkey
) -> None:
    register(open_stream(fleet, "worker-1"), "dir")
    copy = valkey.copy()
    late = open_stream(fleet, "worker-1")
    forgotten = register(late, "dir").epoch
    valkey.roll_back(copy)
    new = open_stream(fleet, "worker-1")
    assert int(register(new, "dir").epoch) > int(forgotten)
    late._link.open()  # a proxy between them has not noticed the restart
    with pytest.raises(Fenced):
        commit(late, Record(batch=1))
    commit(new, Record(batch=1))


@pytest.mark.parametrize("fence", ["take_over", "seize"])
def test_trap_33_whoever_fences_another_gives_out_no_epoch_again_that_the_server_forgot(
    fleet: Fleet, fence: str
) -> None:
    dead, other = open_stream(fleet, "dead"), open_stream(fleet, "other")
    fleet.publisher.publish_some(len(TYPES))
    register(dead, "dir")
    commit(dead, Record(batch=1, files={"delivered": FILE}))
    dead.request_new(10, block=False)
    dead.receive_entries()
    fleet.client.delete(KEYS.lease("dead"))
    register(other, "dir")
    before = epoch_of(fleet, "dead")
    fleet.client.set(KEYS.epoch, 0)
    done: Any = other.take_over() if fence == "take_over" else other.seize("delivered", FILE.name)
    assert done
    assert epoch_of(fleet, "dead") > before
