"""The live group put back, on a real Valkey: what was written comes once more, what was pending once, as all else."""

import json
import os
import pty
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas.events import TYPES
from tests.support.audits import audited
from tests.support.events import encode, make_event
from tests.support.files import recipients_in
from tests.support.replay import KEYS, Lab
from tests.support.servers import RealValkey
from tests.support.streams import register
from tests.support.users import add_worker
from tests.support.workers import PARTITION, HandClock, drain, make_worker, settings
from worker.decode import RawEntry, payload_of
from worker.errors import ExitCode, Fenced, StreamUnavailable
from worker.records import Record
from worker.replay.span import before
from worker.stream import Stream
from worker.stream.keys import GROUP
from worker.stream.link import connector
from worker.stream.rewind import Again, Changed, Delivered, Rewinder, WorkersAlive, rewinder

NOTHING = Record()


def rows_of(entries: Sequence[RawEntry]) -> int:
    """Return how many rows entries become; no test here adds events that become none."""
    return sum(len(event["rcpts"]) for _, fields in entries for event in json.loads(payload_of(fields or ())))


class Live(Lab):
    """A server with workers of this process."""

    def work(self, events: int, name: str = "worker-1") -> None:
        """Let a worker commit so many events, and stop it: its lease is gone then."""
        worker = make_worker(settings(self.path / "files", name=name), None, HandClock(), url=self.valkey.url)
        assert worker.recover()
        drain(worker, events)
        worker.stop()
        worker.run()

    def leave_pending(self, consumer: str, entries: int) -> None:
        """Let a consumer read new entries of each stream, and die."""
        for key in KEYS.streams.values():
            self.client.xreadgroup(GROUP, consumer, {key: ">"}, count=entries)

    def counts(self, event_type: str) -> list[int]:
        """Return how often each event of a type stands in the files, in the order of publishing."""
        found = recipients_in(self.path / "files")
        return [found[f"{event_type}{number}.0@example.com"] for number in self.numbers(event_type)]

    def numbers(self, event_type: str) -> list[int]:
        return [
            int(str(event["jobId"]).removeprefix("JOB-").removesuffix(".1"))
            for event in self.publisher.published[event_type]
        ]

    def replayed(self) -> dict[str, int]:
        return {name: int(self.client.hget(KEYS.ledger, f"{name}:replayed")) for name in TYPES}

    def look(self, rewinding: Rewinder, start: str, *types: str) -> list[Delivered]:
        found = [rewinding.look(name, before(start), rows_of, lambda _events: None) for name in types or TYPES]
        return [each for each in found if each]

    def rewind(self, start: str, *types: str) -> list[Again]:
        with rewinder(connector(settings(self.path).stream, self.valkey.url), PARTITION) as rewinding:
            return rewinding.run(self.look(rewinding, start, *types))


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Live:
    return Live(valkey, tmp_path)


def test_every_event_of_the_range_is_written_once_more_and_every_other_once(lab: Live) -> None:
    lab.publisher.publish_some(60)
    lab.work(60)
    start = lab.ids("delivered")[10]
    done = lab.command("--live", "--from", start, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = {each["event_type"]: each for each in json.loads(done.stdout)}
    later = {name: sum(entry_id >= start for entry_id in lab.ids(name)) for name in TYPES}
    assert {name: told[name]["events"] for name in TYPES} == later == lab.replayed()
    lab.publisher.publish_some(3)
    lab.work(sum(later.values()) + 3)
    for name in TYPES:
        assert lab.counts(name) == [1] * (20 - later[name]) + [2] * later[name] + [1]


@pytest.mark.parametrize("reader", ["worker-1", "worker-2"])
def test_pending_entries_of_the_range_are_written_once_whoever_had_read_them(lab: Live, reader: str) -> None:
    lab.publisher.publish_some(30)
    lab.work(30)
    lab.publisher.publish_some(30)
    lab.leave_pending("worker-1", 4)  # its own list: what a worker reads first when it starts
    lab.leave_pending("gone", 3)  # another's: taken over when its lease is gone
    configured = settings(lab.path / "files")
    assert audited(configured, lab.valkey.url).balanced
    again = lab.rewind(lab.ids("bounce")[5])
    assert audited(configured, lab.valkey.url).balanced
    assert sum(each.pending for each in again) == 3 * 7
    written_again = sum(each.events for each in again)
    lab.work(30 + written_again, reader)
    assert lab.client.xpending(KEYS.streams["bounce"], GROUP)["pending"] == 0
    for name in TYPES:
        counts = Counter(lab.counts(name)[10:])
        assert counts == {1: 10}, "entries that were pending or unread"
        assert Counter(lab.counts(name)[:10])[2] == lab.replayed()[name]
    assert audited(configured, lab.valkey.url).balanced


def test_a_pending_entry_before_the_range_and_one_that_was_deleted_stay_pending(lab: Live) -> None:
    lab.publisher.publish_some(30)
    lab.work(30)
    key = KEYS.streams["bounce"]
    lab.client.xgroup_setid(key, GROUP, "0")
    ids = lab.ids("bounce")
    lab.client.xreadgroup(GROUP, "gone", {key: ">"}, count=8)
    lab.client.xdel(key, ids[6])
    [again] = lab.rewind(ids[4], "bounce")
    assert (again.events, again.pending) == (0, 3)
    pending = [each["message_id"].decode() for each in lab.client.xpending_range(key, GROUP, "-", "+", 99)]
    assert pending == [*ids[:4], ids[6]]


def test_types_that_are_not_chosen_stay_where_they_are(lab: Live) -> None:
    lab.publisher.publish_some(30)
    lab.work(30)
    done = lab.command("--live", "--from", "-", "--types", "bounce", "--yes")
    assert "bounce: 10 rows of 10 events are written again and stand twice; 0 rows of 0 pending entries" in done.stdout
    lab.work(10)
    assert [Counter(lab.counts(name)) for name in TYPES] == [{1: 10}, {1: 10}, {2: 10}]


def test_nothing_is_done_while_a_worker_is_at_work_and_it_is_named(lab: Live) -> None:
    lab.publisher.publish_some(3)
    lab.work(3)
    lab.client.set(KEYS.lease("worker-1"), "1")
    done = lab.command("--live", "--from", "-", "--yes")
    assert (done.returncode, "worker-1 at work: stop the workers first" in done.stderr) == (ExitCode.FAILED, True)
    lab.client.delete(KEYS.lease("worker-1"))
    with rewinder(connector(settings(lab.path).stream, lab.valkey.url), PARTITION) as rewinding:
        found = lab.look(rewinding, "0-1")
        lab.client.set(KEYS.lease("worker-1"), "1")  # it starts while the question waits for its answer
        with pytest.raises(WorkersAlive, match="worker-1"):
            rewinding.run(found)
    assert lab.replayed() == dict.fromkeys(TYPES, 0)


def _deliver(lab: Live) -> None:
    lab.publisher.publish_some(3)
    lab.leave_pending("worker-1", 1)


def _trim(lab: Live) -> None:
    lab.client.xtrim(KEYS.streams["bounce"], maxlen=2, approximate=False)


def _acknowledge(lab: Live) -> None:
    lab.client.xack(KEYS.streams["bounce"], GROUP, lab.ids("bounce")[-1])  # by a worker that was only slow


@pytest.mark.parametrize("change", [_deliver, _trim, _acknowledge])
def test_what_has_changed_since_it_was_counted_is_noticed_and_nothing_is_done(
    lab: Live, change: Callable[[Live], None]
) -> None:
    lab.publisher.publish_some(12)
    lab.work(12)
    lab.publisher.publish_some(3)
    lab.leave_pending("gone", 1)
    with rewinder(connector(settings(lab.path).stream, lab.valkey.url), PARTITION) as rewinding:
        found = lab.look(rewinding, "0-1")
        change(lab)
        groups = [lab.client.xinfo_groups(key) for key in KEYS.streams.values()]
        with pytest.raises(Changed, match="has changed since it was counted"):
            rewinding.run(found)
    assert [lab.client.xinfo_groups(key) for key in KEYS.streams.values()] == groups
    assert lab.replayed() == dict.fromkeys(TYPES, 0)


def test_a_worker_that_only_stalled_cannot_commit_what_is_delivered_again(lab: Live) -> None:
    configured = settings(lab.path / "files").stream
    stalled = Stream(configured, "stalled", url=lab.valkey.url)
    stalled.open()
    register(stalled, "its-directory")
    lab.publisher.publish_some(6)
    stalled.request_new(2, block=False)
    assert stalled.receive_entries()
    lab.rewind("0-1")
    stalled.send_commit(Record(batch=1), {})
    with pytest.raises(Fenced):
        stalled.receive_commit()
    assert stalled.pending(10) == []
    assert register(stalled, "its-directory", renew=True).record is None, "its directory must still be known"
    lab.work(6)
    assert Counter(count for name in TYPES for count in lab.counts(name)) == {1: 6}


def test_a_full_server_lets_the_group_be_put_back(lab: Live) -> None:
    lab.publisher.publish_some(6)
    lab.work(6)
    lab.client.config_set("maxmemory", 1)
    with pytest.raises(redis.OutOfMemoryError):
        lab.client.set("x", "y")
    assert sum(each.events for each in lab.rewind("0-1")) == 6
    lab.work(6)


@pytest.mark.parametrize(
    ("key", "value"), [(KEYS.epoch, "many"), (KEYS.ledger, {"bounce:replayed": "many"}), (KEYS.owners, None)]
)
def test_a_key_of_the_wrong_kind_stops_it_before_anything_is_written(lab: Live, key: str, value: Any) -> None:
    lab.publisher.publish_some(6)
    lab.work(6)
    with rewinder(connector(settings(lab.path).stream, lab.valkey.url), PARTITION) as rewinding:
        found = lab.look(rewinding, "0-1")
        if isinstance(value, dict):
            lab.client.hset(key, mapping=value)
        elif value:
            lab.client.set(key, value)
        else:
            lab.client.rename(key, "elsewhere")
            lab.client.hset(key, "worker-1", "1 x")
            lab.client.delete(KEYS.ledger)
            lab.client.sadd(KEYS.ledger, "wrong")
        before_it = [lab.client.xinfo_groups(stream) for stream in KEYS.streams.values()]
        with pytest.raises(StreamUnavailable, match="WRONG"):
            rewinding.run(found)
    assert [lab.client.xinfo_groups(stream) for stream in KEYS.streams.values()] == before_it


def answered(lab: Live, answer: bytes, *arguments: str) -> Any:
    """Run the command on a terminal on which somebody answers."""
    terminal, stdin = pty.openpty()
    os.write(terminal, answer)
    command = [sys.executable, "-m", "worker", "replay", "--live", "--from", "-", "--redis", lab.valkey.url, *arguments]
    done = subprocess.run(command, cwd=lab.path, stdin=stdin, capture_output=True, text=True, timeout=60, check=False)
    os.close(terminal)
    os.close(stdin)
    return done


@pytest.mark.parametrize(("answer", "again"), [(b"n\n", 0), (b"y\n", 6)])
def test_it_says_how_much_is_written_again_and_asks(lab: Live, answer: bytes, again: int) -> None:
    lab.publisher.publish_some(6)
    lab.work(6)
    done = answered(lab, answer)
    assert "Workers will write 6 rows again (delivered 2, deferred 2, bounce 2), and they will" in done.stderr
    assert "will stand twice." in done.stderr
    assert "pending" not in done.stderr
    assert done.returncode == (0 if again else 1)
    assert sum(lab.replayed().values()) == again


def test_it_counts_rows_and_tells_those_that_stand_twice_from_those_of_pending_entries(lab: Live) -> None:
    bad: dict[str, object] = {"type": "b"}  # becomes a dead letter again, and no row
    lab.publisher.publish_some(12, per_batch=2, recipients=3)
    lab.publisher.publish({"bounce": [make_event("bounce", 900, recipients=2), bad]})
    lab.work(26)
    lab.publisher.publish_some(6, per_batch=2, recipients=4)
    lab.leave_pending("gone", 1)
    written = {name: int(lab.client.hget(KEYS.ledger, f"{name}:rows")) for name in TYPES}
    assert written == {"delivered": 24, "deferred": 24, "bounce": 26}
    done = answered(lab, b"y\n", "--json")
    twice = "Workers will write 74 rows again (delivered 24, deferred 24, bounce 26), and they will stand twice.\n"
    assert twice in done.stderr
    assert "Besides, 3 entries are still pending; their 24 rows will be written once." in done.stderr
    told = {each["event_type"]: each for each in json.loads(done.stdout)}
    assert {name: told[name]["rows"] for name in TYPES} == written
    assert {(told[name]["pending"], told[name]["pending_rows"]) for name in TYPES} == {(1, 8)}
    lab.work(26 + 6 + 6)
    found = Counter(recipients_in(lab.path / "files").values())
    assert found == {2: 74, 1: 48}


def test_where_nobody_can_be_asked_it_needs_yes(lab: Live) -> None:
    done = lab.command("--live", "--from", "-")
    assert done.returncode == 2
    assert "--yes puts the group back without a question" in " ".join(done.stderr.split())


def test_nothing_delivered_since_then_is_nothing_to_do(lab: Live) -> None:
    assert "nothing is written again" in lab.command("--live", "--from", "-", "--yes").stdout
    lab.publisher.publish({"bounce": [make_event("bounce", 1)]})
    lab.work(1)
    group = lab.client.xinfo_groups(KEYS.streams["bounce"])
    late = lab.command("--live", "--from", "2100-01-01", "--yes")
    assert "nothing is written again" in late.stdout
    assert lab.client.xinfo_groups(KEYS.streams["bounce"]) == group


def test_the_workers_user_may_replay_in_every_way(lab: Live) -> None:
    lab.publisher.publish_some(6)
    lab.work(6)
    url = add_worker(lab.client, lab.valkey.url)
    for arguments in (
        ("--from", "-", "--into", "one", "--acknowledged"),
        ("--from", "-", "--export", "range.ndjson"),
        ("--from-archive", "dead", "--into", "two"),
        ("--from", "-", "--live", "--yes"),
    ):
        done = lab.command(*arguments, "--redis", url)
        assert done.returncode == 0, done.stderr
    assert lab.replayed() == dict.fromkeys(TYPES, 2)


def test_entries_without_a_number_are_delivered_again_and_counted_as_none(lab: Live) -> None:
    lab.publisher.publish_some(3)
    lab.client.xadd(KEYS.streams["bounce"], {"events": encode([make_event("bounce", 99)])})
    lab.work(4)
    assert {each.event_type: each.events for each in lab.rewind("0-1")} == dict.fromkeys(TYPES, 1)
    lab.work(4)
    assert recipients_in(lab.path / "files")["bounce99.0@example.com"] == 2
