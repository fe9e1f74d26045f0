"""A3 and E: a server forgets; no acknowledged row leaves the files, and no event that comes again has a second row."""

import json
import os
import signal

import pytest

from tests.field.forgetting import ALL, forgetting
from tests.field.site import KEYS, Site, is_long
from tests.support.servers import WorkerProcess
from worker.errors import ExitCode
from worker.stream.keys import GROUP

#: When the server forgets: before it stops, each worker did this.
STOPPED, KILLED, ALIVE, STALLED = "stopped", "killed", "alive", "stalled"
SHORT = {
    ("emptied", STOPPED), ("restored", KILLED), ("flushall", ALIVE), ("keys-restored", STOPPED), ("no-records", KILLED),
    ("no-streams", STOPPED), ("no-producers", ALIVE), ("everything-but-streams", STOPPED),
}  # fmt: skip
REFUSED = {"no-streams-nor-records"}  # at a start; see below
CASES = [
    pytest.param(how, moment, id=f"{how}-{moment}")
    for how in ALL
    for moment in (STOPPED, KILLED, ALIVE)
    if (is_long() or (how, moment) in SHORT) and how not in REFUSED
]


def leave(worker: WorkerProcess, moment: str) -> None:
    """Let a worker be in the state in which the server's loss finds it."""
    match moment:
        case "stopped":
            assert worker.stop() == 0
        case "killed":
            worker.kill()
        case "stalled":
            os.kill(worker.process.pid, signal.SIGSTOP)


def come_back(worker: WorkerProcess, moment: str) -> None:
    """Let it be at work again."""
    match moment:
        case "stopped" | "killed":
            worker.start()
        case "stalled":
            os.kill(worker.process.pid, signal.SIGCONT)


# A3: 60 rows; server stopped; worker stopped by SIGTERM; an empty server started, then the worker
# E: 200 rows, FLUSHALL, the plugin sends its ring again


@pytest.mark.parametrize(("how", "moment"), CASES)
def test_a_server_that_forgets_costs_no_row_and_what_comes_again_yields_no_second_one(
    site: Site, how: str, moment: str
) -> None:
    worker = site.started(redis__batch_entries=5)
    site.write(12)
    with forgetting(site, how):
        site.write(60)
        before = site.rows()
        leave(worker, moment)
    come_back(worker, moment)
    assert not before - site.rows()
    site.publisher.catch_up()
    site.publisher.publish_some(12)
    site.check(worker)
    site.check_recovered()
    assert site.run("verify", str(site.path)).returncode == 0


def test_rows_stay_where_another_worker_of_the_directory_starts_on_the_empty_server_first(site: Site) -> None:
    worker = site.started()
    site.write(60)
    worker.kill()
    with forgetting(site, "emptied"):
        pass
    other = site.started("worker-2")
    site.publisher.catch_up()
    site.write(6)
    worker.start()
    site.write(6)
    site.check(worker, other)
    site.check_recovered()


@pytest.mark.parametrize("how", ["emptied", "restored"] if is_long() else ["restored"])
def test_two_workers_in_two_directories_write_nothing_twice_when_the_server_forgets(site: Site, how: str) -> None:
    other_path = site.base / "other"
    workers = [site.started(redis__batch_entries=3), site.started("worker-2", other_path, redis__batch_entries=3)]
    paths = [site.path, other_path]
    site.write(30, paths=paths)
    with forgetting(site, how):
        site.write(90, paths=paths)
    for worker in workers:
        site.told(worker, "worker.recovering")
    site.publisher.catch_up()
    site.publisher.publish_some(30)
    site.check(*workers, paths=paths)


def test_a_server_that_forgets_again_and_again_costs_no_row(site: Site) -> None:
    worker = site.started()
    for _ in range(3):
        site.write(9)
        with forgetting(site, "flushall"):
            site.write(9)
        site.publisher.catch_up()
    site.check(worker)


@pytest.mark.parametrize("how", ["flushall", "restored"])
def test_a_ring_that_comes_before_the_worker_is_back_yields_no_second_row(site: Site, how: str) -> None:
    worker = site.started()
    site.write(12)
    with forgetting(site, how):
        site.write(60)
        leave(worker, KILLED)
    site.publisher.catch_up()
    site.publisher.publish_some(12)
    worker.start()
    site.check(worker)


def test_a_worker_that_stalled_while_the_server_forgot_writes_nothing_twice(site: Site) -> None:
    worker = site.started()
    site.write(12)
    with forgetting(site, "flushall"):
        site.write(30)
        leave(worker, STALLED)
    site.publisher.catch_up()
    come_back(worker, STALLED)
    site.publisher.publish_some(12)
    site.check(worker)


def test_a_gap_that_a_busy_publisher_meets_is_filled_without_a_second_row(site: Site) -> None:
    """No reconnection tells the plugin of it: its next batch does."""
    worker = site.started()
    site.write(60)
    site.client.flushall()
    site.publisher.publish_some(30)
    site.check(worker)


def test_an_operator_who_deletes_one_key_after_the_other_costs_no_row(site: Site) -> None:
    worker = site.started()
    site.write(12)
    for key in (KEYS.records, KEYS.owners, KEYS.epoch, KEYS.directories, KEYS.history, KEYS.written, KEYS.ledger):
        site.client.delete(key)
        site.write(6)
    site.check(worker)
    site.check_recovered()


def test_where_nobody_can_say_how_far_the_group_was_a_person_is_asked_and_no_row_is_touched(site: Site) -> None:
    """Streams and records are deleted, the ledger is there: a new group could begin before what has rows."""
    worker = site.started()
    site.write(30)
    site.stop(worker)
    before = site.rows()
    site.client.delete(*KEYS.streams.values(), KEYS.records)
    code, said = site.refused(worker)
    assert code == ExitCode.SERVER_REFUSED, said
    assert "XGROUP CREATE" in said
    assert site.rows() == before
    for key in KEYS.streams.values():
        site.client.xgroup_create(key, GROUP, "0", mkstream=True)
    worker.start()
    site.publisher.publish_some(9)
    site.check(worker)


def test_what_stands_twice_since_its_writer_was_away_for_longer_than_a_lease_is_noted_entry_by_entry(
    site: Site,
) -> None:
    """What docs/delivery.md names: another directory gets it, before the writer can say that it has it."""
    other_path = site.base / "other"
    worker = site.started()
    site.write(30)
    leave(worker, STALLED)
    site.client.flushall()
    other = site.started("worker-2", other_path)
    site.publisher.catch_up()
    site.wait(lambda: site.rows(other_path).total() == 30, "what comes again")
    come_back(worker, STALLED)
    site.told(worker, "entries.twice")
    site.publisher.publish_some(9)
    paths = (site.path, other_path)
    site.settle(*paths)
    site.stop(worker, other)
    rows = site.rows(*paths)
    assert rows.keys() == site.expected().keys()
    doubled = {rcpt for rcpt, count in rows.items() if count > 1}
    [note] = site.notes("twice*.json")
    assert json.loads(note.read_bytes())["count"] == len(doubled) == 30
    assert max(rows.values()) == 2
