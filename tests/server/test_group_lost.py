"""A consumer group that is gone while several workers are at work: nothing is lost, what stands twice is bounded."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.server.fleet import KEYS, Fleet
from tests.support.events import recipients_of
from tests.support.files import recipients_in
from tests.support.workers import PARTITION, drain, settings
from worker import records
from worker.chores import Chores
from worker.errors import StreamUnavailable
from worker.loop import Worker
from worker.records import Record
from worker.stream import outdated
from worker.stream.link import Link, connector
from worker.stream.outdated import Known
from worker.stream.retirement import drop_superseded, retire_silent

WEEK_MS = 7 * outdated.DAY_MS


def destroy(fleet: Fleet) -> None:
    for key in KEYS.streams.values():
        fleet.client.xgroup_destroy(key, "accounting")


def make_old(fleet: Fleet, worker: Worker, **changes: object) -> None:
    """Let the server have heard of a worker eight days ago, and change its record."""
    consumer, directory = worker._stream._consumer, worker._directory.id
    record = records.decode(fleet.client.hget(KEYS.records, f"{consumer} {directory}"))
    assert record is not None
    seconds, _ = fleet.client.time()
    then_ms = (seconds - 8 * 86_400) * 1000
    old = msgspec.structs.replace(record, committed_ms=then_ms, **changes)
    fleet.client.hset(KEYS.records, f"{consumer} {directory}", records.encode(old))
    fleet.client.hset(KEYS.owners, consumer, f"{then_ms * 1000} {directory}")
    fleet.client.delete(KEYS.lease(consumer))


def find_it_gone(worker: Worker) -> None:
    with pytest.raises(StreamUnavailable, match="NOGROUP") as gone:
        worker.step()
    assert worker.recover(gone.value)


def take_in_hand(worker: Worker) -> None:
    """Let a worker be given entries, and neither write nor commit them."""
    worker._stream.request_new(100, block=False)
    assert worker._stream.receive_entries()


def rows(fleet: Fleet, *others: Path) -> Counter[str]:
    return sum((recipients_in(path) for path in (fleet.path, *others)), Counter())


def expected(fleet: Fleet) -> Counter[str]:
    return Counter(recipients_of(event for events in fleet.publisher.published.values() for event in events))


def publish(fleet: Fleet) -> set[str]:
    """Publish nine events; return their recipients."""
    before = expected(fleet)
    fleet.publisher.publish_some(9)
    return set(expected(fleet) - before)


def test_trap_31_a_group_goes_on_behind_the_lowest_id_that_all_workers_have_acknowledged_through(fleet: Fleet) -> None:
    one, other = fleet.worker("one"), fleet.worker("other")
    for worker in (one, other):
        publish(fleet)
        drain(worker, 9)
    publish(fleet)
    take_in_hand(other)
    again = publish(fleet)
    drain(one, 18)
    fleet.die(other)
    destroy(fleet)
    find_it_gone(one)
    fleet.work(one)
    assert rows(fleet) == expected(fleet) + Counter(again)  # which it had beyond what the other had acknowledged


def test_entries_in_the_hand_of_a_worker_that_has_never_acknowledged_any_come_again_with_the_group(
    fleet: Fleet,
) -> None:
    one = fleet.worker("one")
    publish(fleet)
    drain(one, 9)
    fresh = fleet.worker("fresh")
    publish(fleet)
    take_in_hand(fresh)
    again = publish(fleet)
    drain(one, 18)
    destroy(fleet)
    find_it_gone(fresh)
    fleet.work(fresh)
    assert rows(fleet) == expected(fleet) + Counter(again)


def test_entries_that_a_fresh_worker_has_still_to_take_over_come_again_with_the_group(fleet: Fleet) -> None:
    one = fleet.worker("one")
    publish(fleet)
    drain(one, 9)
    publish(fleet)
    take_in_hand(one)
    fleet.die(one)
    make_old(fleet, one)
    fresh = fleet.worker("fresh")
    destroy(fleet)
    find_it_gone(fresh)
    fleet.work(fresh)
    assert rows(fleet) == expected(fleet)


@pytest.mark.parametrize("clean", [True, False])
def test_the_record_of_a_directory_that_its_worker_has_left_does_not_hold_the_group_back(
    fleet: Fleet, *, clean: bool
) -> None:
    elsewhere = fleet.path.parent / "elsewhere"
    moved = fleet.worker("worker-1")
    publish(fleet)
    drain(moved, 9)
    if clean:
        moved.stop()
        moved.run()
    else:
        fleet.die(moved)
    moved = fleet.worker("worker-1", elsewhere)
    publish(fleet)
    drain(moved, 9)
    destroy(fleet)
    fleet.work(fleet.worker("worker-2"))
    fleet.check(fleet.path, elsewhere)


def test_the_record_of_a_worker_that_is_gone_for_long_does_not_hold_the_group_back(fleet: Fleet) -> None:
    gone, one = fleet.worker("gone", fleet.path.parent / "elsewhere"), fleet.worker("one")
    publish(fleet)
    drain(gone, 9)
    fleet.die(gone)
    make_old(fleet, gone)  # it names files of a directory in which nobody works
    publish(fleet)
    drain(one, 9)
    destroy(fleet)
    find_it_gone(one)
    fleet.work(one)
    fleet.check(fleet.path, fleet.path.parent / "elsewhere")


def known(consumer: str, through: str, *, home: str = "d1", seen_ms: int = WEEK_MS, alive: bool = False) -> Known:
    """Return a record of the directory d1; now is a week after the beginning."""
    record = Record(through={"bounce": through})
    return Known(consumer, "d1", record, b"", home, seen_ms, alive)


@pytest.mark.parametrize(
    ("found", "lowest"),
    [
        ([], None),
        ([known("a", "5-0"), known("b", "10-0")], "5-0"),
        ([known("a", "5-0", seen_ms=0), known("b", "10-0")], "10-0"),
        ([known("a", "5-0", seen_ms=0, alive=True), known("b", "10-0")], "5-0"),
        ([known("a", "5-0", seen_ms=0), known("b", "10-0", seen_ms=0)], "5-0"),
        ([known("a", "5-0"), known("b", "10-0")._replace(record=Record())], "5-0"),
        ([known("a", "5-0", seen_ms=0), known("b", "10-0")._replace(record=Record())], "5-0"),
        ([known("a", "5-0", home="d2"), known("b", "10-0")], "5-0"),  # and says nothing there yet
        ([known("a", "5-0", home="d2"), known("a", "7-0", home="d2")._replace(directory="d2")], "7-0"),
        ([known("a", "5-0", home="d2"), known("b", "7-0", home="d2")._replace(directory="d2")], "5-0"),
    ],
)
def test_the_group_goes_on_where_those_who_count_were(found: list[Known], lowest: str | None) -> None:
    assert outdated.acknowledged_through(found, "bounce", 2 * WEEK_MS - 1) == lowest


@pytest.mark.parametrize(
    ("entry_id", "before"), [("5-1", "5-0"), ("5-0", "4-18446744073709551615"), ("0-1", "0-0"), ("12-30", "12-29")]
)
def test_the_id_before_another_leaves_no_room_between_them(entry_id: str, before: str) -> None:
    assert records.id_before(entry_id) == before


def chores(fleet: Fleet, worker: Worker) -> Chores:
    configured = settings(fleet.path).stream
    return Chores(connector(configured, fleet.url), configured, worker._directory)


def test_consumers_that_the_group_has_forgotten_are_retired_by_their_epoch_once_they_are_silent_for_a_week(
    fleet: Fleet,
) -> None:
    kept, old, young, with_files = (fleet.worker(name) for name in ("kept", "old", "young", "with-files"))
    for worker in (old, young):
        worker.stop()
        worker.run()
    fleet.die(with_files)
    make_old(fleet, old)
    make_old(fleet, with_files)
    fleet.client.hset(KEYS.owners, "never-wrote", f"1 {old._directory.id}")
    fleet.client.hset(KEYS.records, "no-owner d9", records.encode(Record(batch=3, committed_ms=1)))
    fleet.client.hset(KEYS.records, "no-owner-yet d9", records.encode(Record(batch=3, committed_ms=2**53)))
    destroy(fleet)
    kept.recover(StreamUnavailable("no such group"))
    chores(fleet, kept).run()
    owners = {name.decode() for name in fleet.client.hkeys(KEYS.owners)} - {"-"}
    assert owners == {"kept", "young", "with-files"}
    assert {name.partition(" ")[0] for name in told(fleet)} == {"kept", "young", "with-files", "no-owner-yet"}


def test_a_consumer_that_registers_while_it_is_looked_at_is_not_retired(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = fleet.worker("back")
    back.stop()
    back.run()
    make_old(fleet, back)
    destroy(fleet)
    configured = settings(fleet.path).stream
    call = Link.call

    def register_first(self: Link, *request: Any) -> Any:
        if len(request) > 1 and request[0] == "EVALSHA":
            monkeypatch.setattr(Link, "call", call)
            back._stream.open()
            back._joining._claim()
        return call(self, *request)

    fleet.worker("kept")
    monkeypatch.setattr(Link, "call", register_first)
    assert retire_silent(connector(configured, fleet.url), PARTITION, 7) == []
    assert fleet.client.hexists(KEYS.records, f"back {back._directory.id}")


def test_records_of_directories_that_their_workers_have_left_go_unless_they_name_a_file(fleet: Fleet) -> None:
    elsewhere = fleet.path.parent / "elsewhere"
    for name in ("clean", "died"):
        worker = fleet.worker(name)
        publish(fleet)
        drain(worker, 9)
        if name == "clean":
            worker.stop()
            worker.run()
        else:
            fleet.die(worker)
    at_home = worker._directory.id
    moved = [fleet.worker(name, elsewhere) for name in ("clean", "died")]
    assert chores_log(fleet, moved[0]) == ["clean"]
    there = moved[0]._directory.id
    assert told(fleet) == {f"clean {there}", f"died {there}", f"died {at_home}"}


def test_a_record_whose_worker_has_come_back_to_its_directory_meanwhile_stays(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fleet.worker("worker-1")
    first.stop()
    first.run()
    fleet.die(fleet.worker("worker-1", fleet.path.parent / "elsewhere"))
    call = Link.call

    def register_first(self: Link, *request: Any) -> Any:
        if request[0] == "EVALSHA":
            monkeypatch.setattr(Link, "call", call)
            first._stream.open()
            first._joining._claim()
        return call(self, *request)

    monkeypatch.setattr(Link, "call", register_first)
    assert drop_superseded(connector(settings(fleet.path).stream, fleet.url), PARTITION) == []
    assert fleet.client.hexists(KEYS.records, f"worker-1 {first._directory.id}")


def chores_log(fleet: Fleet, worker: Worker) -> list[str]:
    """Do the chores; return whose records were dropped."""
    before = told(fleet)
    chores(fleet, worker).run()
    return sorted(name.partition(" ")[0] for name in before - told(fleet))


def told(fleet: Fleet) -> set[str]:
    """Return whose records tell more than how many commits there were."""
    stored = fleet.client.hgetall(KEYS.records)
    known = {name.decode(): records.decode(value) for name, value in stored.items() if name != b"-"}
    return {name for name, record in known.items() if record and not record.is_retired}
