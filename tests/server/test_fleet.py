"""Several workers on a real server: what the dead and the stalled leave is brought to its end by the others, once."""

from typing import Any

import msgspec
import pytest

from tests.server.fleet import KEYS, Fleet, Killed
from tests.support.files import check_manifest, sealed_files
from tests.support.workers import changed, drain, make_worker, settings
from worker.chores import Chores
from worker.errors import NameTaken, StreamUnavailable
from worker.files import Files
from worker.loop import Worker
from worker.stream.link import Link, connector
from worker.stream.retirement import RETIRED, retire_on
from worker.stream.stream import Stream


def die_in(worker: Worker, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker step until it dies at a call of a method."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(Killed):
            for _ in range(10):
                worker.step()


def test_entries_and_files_of_a_dead_worker_are_finished_by_another(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, other = fleet.worker("dead"), fleet.worker("other")
    fleet.publisher.publish_some(12)
    drain(dead, 1)
    fleet.publisher.publish_some(30)
    die_in(dead, Stream, "send_commit", monkeypatch)  # rows appended, not committed
    fleet.die(dead)
    fleet.work(other)
    other.step()
    fleet.check()
    sealed = [check_manifest(file) for name in KEYS.streams for file in sealed_files(fleet.path, name)]
    assert {manifest.reason for manifest in sealed} == {"orphan"}
    assert {manifest.writer for manifest in sealed} == {"dead"}
    assert len(list((fleet.path / "recovered").glob("*.tail"))) == 3
    assert len(fleet.owned()) - len(sealed) == 3  # the other's open files


def test_trap_2_a_stalled_worker_that_wakes_up_is_fenced_and_writes_nothing_twice(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = fleet.worker("slow"), fleet.worker("other", fleet.path.parent / "elsewhere")
    fleet.publisher.publish_some(12)
    append = Files.append
    stalled: list[bool] = []

    def stall(self: Files, batch: Any) -> Any:
        states = append(self, batch)
        if self is slow._files and not stalled:
            stalled.append(True)
            fleet.lapse(slow)
            fleet.work(other)  # meanwhile everything is taken over and written
        return states

    monkeypatch.setattr(Files, "append", stall)
    fleet.work(slow)
    assert len(list((fleet.path / "recovered").glob("*.tail"))) == 3  # what it had appended was cut
    assert (slow.totals.events, other.totals.events) == (0, 12)
    fleet.publisher.publish_some(12)
    fleet.work(slow)
    fleet.check(fleet.path, fleet.path.parent / "elsewhere")


def test_nothing_is_taken_from_a_worker_whose_lease_lives(fleet: Fleet) -> None:
    busy, other = fleet.worker("busy"), fleet.worker("other")
    fleet.publisher.publish_some(3)
    busy._stream.request_new(10, block=False)
    assert busy._stream.receive_entries()
    fleet.clock.now += 60
    busy._stream.renew_lease()
    other.step()
    assert other.totals.events == 0
    assert fleet.left() == 3


def test_a_busy_stream_does_not_put_off_looking_after_the_dead(fleet: Fleet) -> None:
    dead, other = fleet.worker("dead"), fleet.worker("other")
    fleet.publisher.publish_some(1)
    dead._stream.request_new(10, block=False)
    dead._stream.receive_entries()
    fleet.die(dead)
    for _ in range(30):
        fleet.publisher.publish_some(30)
        other.step()
        if dead._stream._consumer not in str(fleet.client.xpending(KEYS.streams["delivered"], "accounting")):
            break
    else:
        pytest.fail("never looked")


def test_trap_10_a_file_whose_writer_lives_is_left_alone(fleet: Fleet) -> None:
    first, other = fleet.worker("first"), fleet.worker("other")
    fleet.publisher.publish_some(3)
    drain(first, 3)
    fleet.lapse(first)
    before = fleet.owned()
    other.step()
    other.step()
    assert fleet.owned() == before


def test_a_header_only_file_of_a_dead_worker_is_unlinked(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    other = fleet.worker("other")
    dead = make_worker(settings(fleet.path, name="dead"), None, fleet.clock, url=fleet.url)
    fleet.workers.append(dead)
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "send_commit", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            dead.recover()
    dead.release()
    assert len(fleet.owned()) == 6
    fleet.clock.now += 60
    other.step()
    assert len(fleet.owned()) == 3


def test_trap_35_what_the_journal_of_a_dead_worker_does_not_prove_of_an_unnamed_file_is_kept_aside_and_not_sealed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, other = fleet.worker("dead"), fleet.worker("other")
    fleet.publisher.publish_some(3)
    drain(dead, 3)
    fleet.publisher.publish_some(3)
    die_in(dead, Stream, "send_commit", monkeypatch)  # rows appended, not committed
    fleet.client.hdel(KEYS.records, f"dead {dead._directory.id}")  # the server forgot it
    fleet.die(dead)
    assert other.recover(StreamUnavailable("the server was away"))
    other.step()
    [sealed] = sealed_files(fleet.path, "delivered")
    assert (check_manifest(sealed).rows, check_manifest(sealed).reason) == (1, "orphan")
    [kept] = (fleet.path / "recovered").glob(f"{sealed.name}.tail")
    assert kept.read_bytes().count(b"@example.com") == 1
    assert msgspec.json.decode(kept.with_name(kept.name + ".json").read_bytes())["in_doubt"] is True


def test_an_unnamed_file_without_a_journal_is_sealed_as_it_stands_and_told_to_be_in_doubt(fleet: Fleet) -> None:
    dead, other = fleet.worker("dead"), fleet.worker("other")
    fleet.publisher.publish_some(3)
    drain(dead, 3)
    fleet.client.hdel(KEYS.records, f"dead {dead._directory.id}")
    (fleet.path / "journal" / "dead").unlink()
    fleet.die(dead)
    other.step()
    [sealed] = sealed_files(fleet.path, "delivered")
    assert (check_manifest(sealed).rows, check_manifest(sealed).reason) == (1, "doubt")
    [note] = (fleet.path / "lost").glob(f"{sealed.name}.doubt.json")
    assert "in doubt" in msgspec.json.decode(note.read_bytes())["why"]


def test_trap_36_forgetting_a_file_spares_the_record_of_a_consumer_that_is_back(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, other = fleet.worker("dead"), fleet.worker("other")
    fleet.publisher.publish_some(3)
    drain(dead, 3)
    fleet.die(dead)
    forget = Stream.forget
    back: list[Worker] = []

    def pause_before(self: Stream, *arguments: Any) -> bool:
        if not back:
            back.append(fleet.worker("dead"))
        return forget(self, *arguments)

    monkeypatch.setattr(Stream, "forget", pause_before)
    other.step()
    fleet.publisher.publish_some(3)
    drain(back[0], 3)
    fleet.check()


def test_foreign_files_are_never_touched_by_the_scan(fleet: Fleet) -> None:
    foreign = fleet.path / "delivered" / "d.2017-06-16-125059.tsv"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("the old plugin's")
    worker = fleet.worker("other")
    worker.step()
    assert foreign.read_text() == "the old plugin's"


def test_trap_13_a_consumer_with_files_or_pending_entries_is_not_retired(fleet: Fleet) -> None:
    dead, other = fleet.worker("dead"), fleet.worker("other")
    fleet.publisher.publish_some(3)
    drain(dead, 3)
    fleet.publisher.publish_some(3)
    dead._stream.request_new(10, block=False)
    dead._stream.receive_entries()
    link = Link(connector(settings(fleet.path).stream, fleet.url))
    link.open()
    assert "lease lives" in retire_on(link, KEYS, "dead")
    fleet.die(dead)
    assert "pending entries" in retire_on(link, KEYS, "dead")
    epoch = fleet.client.get(KEYS.epoch)
    fleet.client.xack(
        KEYS.streams["bounce"], "accounting", *[x[0] for x in fleet.client.xrange(KEYS.streams["bounce"])]
    )
    for name in ("delivered", "deferred"):
        fleet.client.xack(KEYS.streams[name], "accounting", *[x[0] for x in fleet.client.xrange(KEYS.streams[name])])
    assert "not sealed" in retire_on(link, KEYS, "dead")
    other.step()  # seals its files
    assert retire_on(link, KEYS, "dead") == RETIRED
    assert "unknown" in retire_on(link, KEYS, "dead")
    assert not fleet.client.hexists(KEYS.owners, "dead")
    assert fleet.client.get(KEYS.epoch) >= epoch
    link.close()


def test_trap_13_a_consumer_whose_rotated_file_is_not_sealed_is_not_retired(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, other = fleet.worker("dead"), fleet.worker("other")
    fleet.publisher.publish_some(3)
    drain(dead, 3)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Files, "seal", die)
        dead.stop()
        with pytest.raises(Killed):
            dead.run()  # its record names no open file any more, but three that are not sealed
    fleet.lapse(dead)
    link = Link(connector(settings(fleet.path).stream, fleet.url))
    link.open()
    assert "not sealed" in retire_on(link, KEYS, "dead")
    other.step()  # seals them
    assert retire_on(link, KEYS, "dead") == RETIRED
    link.close()
    fleet.check()


def test_trap_20_a_live_holder_of_the_name_in_another_directory_is_waited_for(fleet: Fleet) -> None:
    first = fleet.worker("worker-1")
    second = make_worker(settings(fleet.path.parent / "elsewhere", name="worker-1"), None, fleet.clock, url=fleet.url)
    fleet.workers.append(second)
    owner = fleet.client.hget(KEYS.owners, "worker-1")
    second._patience.pauses = second._patience.pauses._replace(sleep=lambda _: second.stop())
    assert not second.recover()
    assert fleet.client.hget(KEYS.owners, "worker-1") == owner  # it has not registered
    fleet.lapse(first)
    second._stopping = False
    assert second.recover()
    with pytest.raises(NameTaken):
        first.recover(StreamUnavailable("fenced"))


def test_trap_34_entries_that_a_forgetful_server_delivers_again_yield_no_second_row(fleet: Fleet) -> None:
    worker = fleet.worker("worker-1")
    field = f"worker-1 {worker._directory.id}"
    old = fleet.client.hget(KEYS.records, field)
    fleet.publisher.publish_some(9)
    drain(worker, 9)
    fleet.client.hset(KEYS.records, field, old)  # the tail of its commands is gone: record, and deliveries
    for key in KEYS.streams.values():
        fleet.client.xgroup_setid(key, "accounting", "0")
    fleet.publisher.publish_some(9)
    fleet.work(worker)
    fleet.check()


def test_a_commit_that_too_few_replicas_have_is_not_counted_on(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    worker = make_worker(
        changed(settings(fleet.path), "stream", wait_replicas=1, wait_ms=50), None, fleet.clock, url=fleet.url
    )
    fleet.workers.append(worker)

    def stop(seconds: float) -> None:
        fleet.clock.sleep(seconds)
        worker.stop()

    worker._patience.pauses = worker._patience.pauses._replace(sleep=stop)
    worker.run()
    assert "worker.ready" not in caplog.text
    assert "a commit reached 0 of 1 replicas" in caplog.text
    assert "worker.stopped_early" in caplog.text


def test_chores_retire_a_consumer_that_was_silent_for_a_week_and_no_other(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = fleet.worker("gone"), fleet.worker("kept")
    fleet.publisher.publish_some(3)
    drain(gone, 3)
    gone.stop()
    gone.run()
    kept.step()
    chores = Chores(connector(settings(fleet.path).stream, fleet.url), settings(fleet.path).stream, kept._directory)
    chores.run()
    assert fleet.client.hexists(KEYS.owners, "gone")  # not silent for long
    monkeypatch.setattr("worker.chores.SILENT_DAYS", 0)
    chores.run()
    assert not fleet.client.hexists(KEYS.owners, "gone")
    assert fleet.client.hexists(KEYS.owners, "kept")  # its lease lives
