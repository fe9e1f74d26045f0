"""What a restart, a lost reply or a server that forgot does to rows: each stands in the files exactly once."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.loop.conftest import Lab
from tests.loop.test_rows_reach_files import expected
from tests.support.files import check_manifest, data_files, recipients_in, rows_of, sealed_files
from tests.support.workers import drain, settings
from worker import records
from worker.accounting_file import AccountingFile
from worker.errors import Behind, DiskTrouble, Fenced, NameTaken, ServerRefused, StreamUnavailable
from worker.loop import RECOVERABLE, Worker
from worker.records import Record
from worker.stream.script import Script

COMMIT = Script("commit")


class Killed(BaseException):
    """The process died here."""


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException) -> None:
    """Let a method raise at its next call, after which it works again."""
    original = getattr(owner, name)

    def failing(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        raise error

    monkeypatch.setattr(owner, name, failing)


def work_on(lab: Lab, worker: Worker, events: int) -> None:
    """Step and recover as `run` does, until that many events are committed."""
    while worker.totals.events < events:
        try:
            worker.step()
        except RECOVERABLE as error:
            assert worker.recover(error)
    assert recipients_in(lab.path) == expected(lab)
    assert lab.pending() == 0
    assert lab.ledger("events") == events


def contents(lab: Lab) -> dict[Path, bytes]:
    return {file: file.read_bytes() for event_type in lab.keys.streams for file in data_files(lab.path, event_type)}


def tails(lab: Lab) -> list[Path]:
    return sorted((lab.path / "recovered").glob("*.tail*")) if (lab.path / "recovered").exists() else []


def test_rows_that_were_appended_but_not_committed_are_cut_kept_aside_and_written_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    fail_once(monkeypatch, worker._stream, "send_commit", Killed())
    with pytest.raises(Killed):
        worker.step()
    lab.die(worker)
    assert sum(recipients_in(lab.path).values()) == 9  # they stand there, uncommitted
    work_on(lab, lab.worker(), 9)
    assert len([file for file in tails(lab) if file.suffix == ".tail"]) == 3


def test_a_commit_whose_reply_was_lost_by_a_death_is_not_written_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    fail_once(monkeypatch, worker._stream, "receive_commit", Killed())
    with pytest.raises(Killed):
        worker.step()
    lab.die(worker)
    lab.worker()
    assert recipients_in(lab.path) == expected(lab)
    assert tails(lab) == []


def test_trap_6_a_commit_whose_reply_was_lost_is_neither_sent_again_nor_cut_away(lab: Lab) -> None:
    lab.publisher.publish_some(30)
    worker = lab.worker()
    worker.step()
    lab.wire.lose_reply_of = COMMIT.sha
    with pytest.raises(StreamUnavailable):
        worker.step()
    assert worker.recover(StreamUnavailable("reply lost"))
    assert tails(lab) == []  # the record says that they were committed
    while sum(recipients_in(lab.path).values()) < 30:
        worker.step()
    assert recipients_in(lab.path) == expected(lab)
    assert (lab.ledger("events"), lab.ledger("rows"), lab.pending()) == (30, 30, 0)


def test_entries_of_a_read_whose_reply_was_lost_are_found_among_the_own_pending_ones(lab: Lab) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(9)
    lab.wire.lose_reply_of = ">"
    work_on(lab, worker, 9)


def test_a_connection_that_breaks_while_a_file_is_rotated_leaves_one_file_and_every_row(lab: Lab) -> None:
    lab.configure("rotation", max_size_bytes=300)
    lab.publisher.publish_some(60)
    worker = lab.worker()
    for _ in range(400):
        if worker.totals.events >= 60:
            break
        lab.wire.lose_reply_of = COMMIT.sha if worker.totals.batches % 2 else None
        try:
            worker.step()
        except RECOVERABLE as error:
            lab.wire.lose_reply_of = None
            assert worker.recover(error)
    while sum(recipients_in(lab.path).values()) < 60:
        worker.step()
    assert recipients_in(lab.path) == expected(lab)
    for event_type in lab.keys.streams:
        for file in sealed_files(lab.path, event_type):
            check_manifest(file)
        assert len(data_files(lab.path, event_type)) - len(sealed_files(lab.path, event_type)) == 1


def test_a_failed_fsync_acknowledges_nothing_and_the_rows_come_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    fail_once(monkeypatch, AccountingFile, "sync", DiskTrouble("fsync: Input/output error"))
    with pytest.raises(DiskTrouble):
        worker.step()
    assert lab.ledger("rows") == 0
    assert worker.recover(DiskTrouble("fsync"))
    work_on(lab, worker, 9)


def test_a_short_write_is_cut_back_and_the_rows_come_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    write = os.write
    left = [1]

    def short(descriptor: int, data: bytes) -> int:
        if b"@example.com" in data and left:
            left.pop()
            return write(descriptor, data[: len(data) // 2])
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", short)
    work_on(lab, worker, 9)
    assert len([file for file in tails(lab) if file.suffix == ".tail"]) == 1


def test_trap_18_a_death_between_rotation_and_seal_is_finished_by_the_next_start(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.configure("rotation", max_size_bytes=300)
    lab.publisher.publish_some(9)
    worker = lab.worker()
    fail_once(monkeypatch, worker._files, "seal", Killed())
    with pytest.raises(Killed):
        drain(worker, 9)
    lab.die(worker)
    assert sealed_files(lab.path, "delivered") == []
    lab.worker()
    assert check_manifest(sealed_files(lab.path, "delivered")[0]).reason == "size"
    assert recipients_in(lab.path) == expected(lab)


def test_trap_20_a_worker_whose_name_was_taken_in_another_directory_ends_and_touches_no_file(lab: Lab) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    lab.client.delete(lab.keys.lease("worker-1"))  # it stalled, and its lease ran out
    other = lab.worker(settings(lab.path.parent / "elsewhere"))
    lab.publisher.publish_some(9)
    before = contents(lab)
    with pytest.raises(NameTaken):
        for _ in range(10):
            try:
                worker.step()
            except RECOVERABLE as error:
                worker.recover(error)
    assert {file: content[: len(before[file])] for file, content in contents(lab).items()} == before
    drain(other, 9)


@pytest.mark.parametrize("by_timer", [False, True])
def test_trap_20_an_idle_worker_whose_name_was_taken_ends_without_keeping_the_lease_alive_or_making_a_file(
    lab: Lab, *, by_timer: bool
) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    drain(worker, 9)
    lab.client.delete(lab.keys.lease("worker-1"))
    lab.worker(settings(lab.path.parent / "elsewhere"))
    lab.client.pexpire(lab.keys.lease("worker-1"), 5_000)
    before = contents(lab)
    lab.clock.now += 86_400  # its files are due
    if by_timer:
        worker._schedule._due.set()
    with pytest.raises(Fenced) as fenced:
        worker.step()
    assert lab.client.pttl(lab.keys.lease("worker-1")) <= 5_000
    with pytest.raises(NameTaken):
        worker.recover(fenced.value)
    lab.die(worker)
    assert contents(lab) == before


def test_a_stop_ends_no_lease_of_a_registration_that_came_meanwhile(lab: Lab) -> None:
    worker = lab.worker()
    lab.client.delete(lab.keys.lease("worker-1"))
    lab.worker(settings(lab.path.parent / "elsewhere"))
    worker._stream.release_lease()
    assert lab.client.exists(lab.keys.lease("worker-1"))


def test_trap_9_a_server_that_lost_its_tail_gets_the_record_back_and_no_row_is_cut(lab: Lab) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    field = f"worker-1 {worker._directory.id}"
    old = lab.client.hget(lab.keys.records, field)
    drain(worker, 9)
    assert old is not None
    lab.client.hset(lab.keys.records, field, old)  # what a failover to a lagging replica does
    lab.publisher.publish_some(9)
    with pytest.raises(RECOVERABLE):
        for _ in range(5):
            worker.step()
    assert worker.recover(StreamUnavailable("failover"))
    for _ in range(20):
        if sum(recipients_in(lab.path).values()) < 18:
            worker.step()
    assert recipients_in(lab.path) == expected(lab)


def forget(lab: Lab, worker: Worker) -> None:
    """Let the server lose the tail of its commands: the worker's record, and every delivery."""
    lab.client.hset(lab.keys.records, f"worker-1 {worker._directory.id}", records.encode(Record()))
    for key in lab.keys.streams.values():
        lab.client.xgroup_delconsumer(key, "accounting", "worker-1")
        lab.client.xgroup_setid(key, "accounting", "0")


def test_trap_34_batches_of_any_size_that_a_forgetful_server_delivers_again_yield_no_second_row(lab: Lab) -> None:
    lab.configure("stream", batch_entries=2000, batch_bytes=4_000_000)  # the defaults
    worker = lab.worker()
    lab.publisher.publish_some(9, recipients=20_000)
    drain(worker, 9)
    lab.publisher.publish_some(9)
    drain(worker, 18)
    [first, *_] = lab.client.xrange(lab.keys.streams["bounce"])
    assert sum(map(len, first[1].values())) > 500_000
    forget(lab, worker)
    with pytest.raises(Behind) as behind:
        worker.step()
    assert worker.recover(behind.value)
    drain(worker, 36)
    assert recipients_in(lab.path) == expected(lab)


def test_trap_34_a_restoring_commit_whose_reply_is_lost_lets_nothing_be_written_twice(lab: Lab) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(9)
    drain(worker, 9)
    forget(lab, worker)
    with pytest.raises(Behind) as behind:
        worker.step()
    lab.wire.lose_reply_of = COMMIT.sha
    assert worker.recover(behind.value)
    lab.publisher.publish_some(9)
    drain(worker, 27)
    assert recipients_in(lab.path) == expected(lab)


def test_trap_34_a_batch_whose_commit_ran_unheard_yields_no_second_row_where_the_server_forgets_it_later(
    lab: Lab,
) -> None:
    worker = lab.worker()
    before = lab.client.hget(lab.keys.records, f"worker-1 {worker._directory.id}")
    assert before is not None
    lab.publisher.publish_some(9)
    lab.wire.lose_reply_of = COMMIT.sha
    with pytest.raises(StreamUnavailable) as lost:
        worker.step()
    assert worker.recover(lost.value)  # the record says that it ran
    lab.client.hset(lab.keys.records, f"worker-1 {worker._directory.id}", before)
    for key in lab.keys.streams.values():
        lab.client.xgroup_setid(key, "accounting", "0")
    assert worker.recover(StreamUnavailable("failover"))
    lab.publisher.publish_some(3)
    drain(worker, 12)
    assert recipients_in(lab.path) == expected(lab)


def test_trap_34_a_batch_whose_commit_did_not_run_is_written_again_where_the_server_forgets_more_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(9)
    drain(worker, 9)
    lab.publisher.publish_some(9)
    fail_once(monkeypatch, worker._stream, "send_commit", StreamUnavailable("reset"))
    with pytest.raises(StreamUnavailable) as lost:
        worker.step()
    assert worker.recover(lost.value)  # the record says that it did not run
    forget(lab, worker)
    assert worker.recover(StreamUnavailable("failover"))
    drain(worker, 27)  # nine of them were counted before the server forgot
    assert recipients_in(lab.path) == expected(lab)


def test_a_file_that_became_shorter_is_sealed_with_what_is_left_and_what_is_missing_is_noted(lab: Lab) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    drain(worker, 9)
    lab.die(worker)
    [file] = data_files(lab.path, "delivered")
    rows = rows_of(file)
    os.truncate(file, file.stat().st_size - 5)
    lab.worker()
    [sealed] = sealed_files(lab.path, "delivered")
    assert check_manifest(sealed).reason == "short"
    assert rows_of(sealed) == rows[:2]
    note = json.loads((lab.path / "lost" / f"{file.name}.short.json").read_bytes())
    assert (note["committed_rows"], note["found_rows"]) == (3, 2)


def test_a_file_of_which_not_even_the_header_is_left_goes_to_lost_as_it_is(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.die(worker)
    [file] = data_files(lab.path, "delivered")
    os.truncate(file, 5)
    lab.worker()
    assert (lab.path / "lost" / file.name).stat().st_size == 5
    assert b"committed_rows" in (lab.path / "lost" / f"{file.name}.json").read_bytes()
    assert not file.exists()


def test_a_file_that_is_gone_does_not_keep_the_worker_from_starting(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.die(worker)
    data_files(lab.path, "delivered")[0].unlink()
    lab.publisher.publish_some(3)
    drain(lab.worker(), 3)


def test_a_server_away_is_waited_for_with_growing_pauses(lab: Lab) -> None:
    worker = lab.worker()
    lab.server.connected = False

    def come_back(seconds: float) -> None:
        lab.clock.now += seconds
        lab.clock.slept.append(seconds)
        if lab.clock.now > 1_060:
            lab.server.connected = True

    worker._patience.pauses = worker._patience.pauses._replace(sleep=come_back)
    lab.publisher.publish_some(0)
    with pytest.raises(StreamUnavailable):
        worker.step()
    assert worker.recover(StreamUnavailable("connection refused"))
    assert 1_060 < lab.clock.now < 1_075
    lab.publisher.publish_some(9)
    work_on(lab, worker, 9)


def test_a_stop_during_an_outage_ends_without_cutting_anything(lab: Lab) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    lab.wire.lose_reply_of = COMMIT.sha
    with pytest.raises(StreamUnavailable):
        worker.step()
    worker.stop()
    lab.server.connected = False
    assert not worker.recover(StreamUnavailable("reply lost"))
    lab.server.connected = True
    lab.die(worker)
    lab.worker()
    assert recipients_in(lab.path) == expected(lab)


def test_a_bad_event_becomes_a_dead_letter_and_its_neighbours_become_rows(lab: Lab) -> None:
    good = lab.publisher
    good.publish_some(1, per_batch=2)
    bad = b'[{"type":"d","v":1,"timeLogged":1,"rcpts":[{"rcpt":""}]}]'
    lab.client.xadd(lab.keys.streams["delivered"], {"events": bad, "n": 1, "at": 3})
    lab.client.xadd(lab.keys.streams["delivered"], {"other": b"x"})
    worker = lab.worker()
    drain(worker, 4)
    assert recipients_in(lab.path) == expected(lab)
    letters: Any = lab.client.xrange(lab.keys.dead)
    assert [letter[1][b"index"] for letter in letters] == [b"0", b"-1"]
    assert b"$.rcpts[0].rcpt" in letters[0][1][b"error"]
    assert lab.ledger("dead") == 2
    assert lab.pending() == 0


def test_an_entry_that_was_trimmed_before_it_was_read_is_counted_as_lost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    fail_once(monkeypatch, worker._files, "append", Killed())
    with pytest.raises(Killed):
        worker.step()
    lab.die(worker)
    [entry, *_] = lab.client.xrange(lab.keys.streams["bounce"])
    lab.client.xdel(lab.keys.streams["bounce"], entry[0])
    again = lab.worker()
    drain(again, 3)
    assert (again.totals.events, again.totals.lost, lab.ledger("lost"), lab.pending()) == (2, 1, 1, 0)


def test_trap_31_a_group_that_is_gone_is_made_again_where_the_record_ends_not_at_the_beginning(lab: Lab) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    drain(worker, 9)
    lab.client.xgroup_destroy(lab.keys.streams["delivered"], "accounting")
    lab.publisher.publish_some(9)
    work_on(lab, worker, 18)


def test_a_group_that_is_gone_without_a_record_refuses_the_start(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.die(worker)
    lab.client.xgroup_destroy(lab.keys.streams["delivered"], "accounting")
    lab.client.delete(lab.keys.records)
    with pytest.raises(ServerRefused, match="no record says how far it was"):
        lab.worker()
