"""The clock of a real server is set: what is deleted there, what is told, and what a range by times finds."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TYPES
from tests.server.test_command_line import run
from tests.support.events import encode, make_event
from tests.support.servers import RealValkey, wait_until
from tests.support.wall_clock import WallClock
from tests.support.workers import PARTITION, changed, settings
from worker import records
from worker.chores import Chores
from worker.directory import Directory
from worker.elapsed import Clocks
from worker.records import Record
from worker.stream import Connector, Stream
from worker.stream.clock import read_clock
from worker.stream.keys import GROUP, Keys
from worker.stream.link import connector
from worker.stream.losses import find_losses
from worker.stream.memory import measure
from worker.stream.producers import prune_producers
from worker.stream.retention import Limits, Trimmed, trim
from worker.stream.retirement import retire_silent

KEYS = Keys.of(PARTITION)
DELIVERED = KEYS.streams["delivered"]
DAY_MS = 86_400_000
WEEK = Limits(days=7, bytes=0)


class Box:
    """A server whose clock is set, and a machine of workers on which time passes."""

    def __init__(self, valkey: RealValkey, wall: WallClock, path: Path) -> None:
        self.url = valkey.url
        self.path = path
        self.client: Any = valkey.client()
        self.connect: Connector = connector(settings(path).stream, valkey.url)
        self._wall = wall
        self._set_by = self._passed = 0.0  # days
        self.clocks = Clocks(elapsed_seconds=lambda: 1000 + self._passed * 86_400, account=lambda: "this machine")
        self._at = 0
        stream = Stream(settings(path).stream, "worker-1", url=valkey.url)
        stream.open()  # makes keys and groups
        stream.close()

    def set_server(self, days: float) -> None:
        """Set the server's clock ahead of the time that really is."""
        self._set_by = days
        self._wall.set(days=self._passed + self._set_by)
        wait_until(self._is_set, "the server's clock")  # it remembers the time for a moment

    def _is_set(self) -> bool:
        self.client.delete("scratch")
        milliseconds = int(self.client.xadd("scratch", {"": ""}).partition(b"-")[0])
        return abs(milliseconds - 1000 * time.time() - DAY_MS * (self._passed + self._set_by)) < 60_000

    def pass_time(self, days: float = 0, hours: float = 0) -> None:
        self._passed += days + hours / 24
        self.set_server(self._set_by)

    def publish(self, entries: int = 1) -> list[str]:
        """Add entries as they arrive now, read and acknowledged."""
        ids = []
        for _ in range(entries):
            self._at += 1
            fields = {"events": encode([make_event("delivered", self._at)]), "n": 1, "at": self._at}
            ids.append(self.client.xadd(DELIVERED, fields).decode())
        for counter in ("published", "events"):
            self.client.hset(KEYS.ledger, f"delivered:{counter}", self._at)
        self.client.xreadgroup(GROUP, "reader", {DELIVERED: ">"})
        self.client.xack(DELIVERED, GROUP, *ids)
        return ids

    def make_stream_anew(self) -> None:
        self.client.delete(DELIVERED)
        self.client.xgroup_create(DELIVERED, GROUP, "0", mkstream=True)

    def ids(self) -> list[str]:
        return [entry_id.decode() for entry_id, _ in self.client.xrange(DELIVERED)]

    def trim(self) -> Trimmed:
        return trim(self.connect, PARTITION, WEEK, self.clocks)

    def trim_for(self, *, hours: int) -> int:
        """Trim as workers do while time passes."""
        trimmed = self.trim().entries
        for _ in range(hours * 6):
            self.pass_time(hours=1 / 6)
            trimmed += self.trim().entries
        return trimmed


@pytest.fixture
def box(wall: WallClock, tmp_path: Path) -> Iterator[Box]:
    with pytest.MonkeyPatch.context() as patch:
        wall.for_new_processes(patch)
        server = RealValkey(tmp_path / "valkey")
        server.start()
    with server:  # started already
        made = Box(server, wall, tmp_path / "files")
        yield made
        made.client.close()


def test_a_server_whose_clock_is_40_days_ahead_for_an_hour_loses_no_entry_before_its_time(box: Box) -> None:
    before = box.publish(3)
    assert box.trim() == Trimmed(0, ())
    box.set_server(40)
    ahead = box.publish(3)
    assert box.trim_for(hours=1) == 0
    box.set_server(0)
    after = box.publish(3)
    assert box.trim_for(hours=1) == 0
    assert box.ids() == before + ahead + after
    box.pass_time(days=6.8)
    assert box.trim().entries == 0
    box.pass_time(days=0.3)
    assert box.trim().entries == 9  # and those with ids of 40 days later do not stay for so long
    assert box.ids() == []


def test_entries_of_a_server_whose_clock_was_behind_are_no_older_once_it_is_right(box: Box) -> None:
    box.set_server(-20_000)
    box.make_stream_anew()
    assert box.trim().entries == 0
    young = box.publish(3)
    box.trim()
    box.set_server(0)
    assert box.trim_for(hours=2) == 0
    assert box.ids() == young


def test_a_stream_that_was_made_anew_after_the_clock_was_ahead_is_not_trimmed_by_its_old_ids(box: Box) -> None:
    box.set_server(40)
    box.publish(3)
    box.trim()
    box.set_server(0)
    box.pass_time(days=8)
    box.make_stream_anew()
    young = box.publish(3)
    assert box.trim_for(hours=2) == 0
    assert box.ids() == young


@pytest.mark.parametrize("lost", ["time", "ids"])
def test_what_is_remembered_of_the_time_can_be_lost_while_the_clock_is_ahead(box: Box, lost: str) -> None:
    young = box.publish(3)
    box.trim()
    box.set_server(40)
    for content in (None, "{", '{"line": 7}', b"\xff"):
        if content is None:
            box.client.hdel(KEYS.watch, lost)
        else:
            box.client.hset(KEYS.watch, lost, content)
        assert box.trim().entries == 0
    assert box.ids() == young


def test_a_full_server_keeps_the_time_too(box: Box) -> None:
    box.client.config_set("maxmemory", 1)
    box.trim()
    assert json.loads(box.client.hget(KEYS.watch, "time"))["line"]["marks"].keys() == {"this machine"}
    assert set(json.loads(box.client.hget(KEYS.watch, "ids"))) == set(TYPES)


def test_producers_and_consumers_are_not_silent_because_the_clock_is_ahead_and_are_after_as_long(box: Box) -> None:
    def gone() -> tuple[int, list[str]]:
        box.trim()
        pruned = prune_producers(box.connect, PARTITION, 30, box.clocks)
        return pruned, retire_silent(box.connect, PARTITION, 7, box.clocks)

    now_ms = int(box.client.time()[0]) * 1000
    box.client.hset(KEYS.producers, "mx1:4711", f"17:{now_ms}")
    box.client.hset(KEYS.owners, "worker-9", f"{now_ms * 1000} abc")
    box.client.xgroup_delconsumer(DELIVERED, GROUP, "reader")
    assert gone() == (0, [])
    box.set_server(40)
    box.pass_time(hours=1)
    assert gone() == (0, [])
    box.set_server(0)
    box.pass_time(hours=1)
    assert gone() == (0, [])
    box.pass_time(days=7)
    assert gone() == (0, ["worker-9"])
    box.pass_time(days=24)
    assert gone() == (1, [])


def test_notes_on_dead_letters_stay_while_ids_are_ahead_of_the_clock(box: Box) -> None:
    box.set_server(40)
    [entry_id] = box.publish(1)
    box.set_server(0)
    box.client.delete(KEYS.settled)
    box.client.xadd(KEYS.settled, {"type": "delivered", "id": entry_id, "index": 0})
    box.trim()
    assert box.client.xlen(KEYS.settled) == 1
    box.pass_time(days=8)
    box.trim()
    box.pass_time(days=40)
    box.publish(1)
    box.trim()
    assert box.client.xlen(KEYS.settled) == 0


def test_ids_that_are_ahead_of_the_clock_are_told_with_how_far(box: Box) -> None:
    box.publish(1)
    assert read_clock(box.connect, PARTITION).ahead == []
    box.set_server(40)
    [newest] = box.publish(1)
    assert read_clock(box.connect, PARTITION).ahead == []
    box.set_server(0)
    [ahead] = read_clock(box.connect, PARTITION).ahead
    assert (ahead.type, ahead.id) == ("delivered", newest)
    assert 0 <= 40 * DAY_MS - ahead.ahead_ms < 300_000
    assert str(ahead).startswith(f"delivered: the newest id, {newest}, is 40.0 days ahead of the server's clock")


def test_a_worker_says_once_that_the_clock_was_set_and_that_ids_are_ahead_and_that_they_are_no_more(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    configured = settings(box.path)
    directory = Directory(
        configured.directory, configured.names, configured.rows, "w", partition=PARTITION, archiving=False
    )
    stream = changed(configured, "stream", retention_days=7, max_bytes=0).stream
    chores = Chores(box.connect, stream, directory, box.clocks)

    def told() -> list[str]:
        caplog.clear()
        for _ in range(3):
            chores.run()
        return [record.getMessage() for record in caplog.records if "chores" in record.name]

    box.publish(1)
    assert told() == []
    box.set_server(40)
    [newest] = box.publish(1)
    [line] = told()
    assert line.startswith(("server.clock_set seconds=3455", "server.clock_set seconds=3456"))
    box.set_server(0)
    lines = told()
    assert [line.partition(" ")[0] for line in lines] == ["server.clock_set", "stream.ids_ahead"]
    assert f"type=delivered newest={newest} seconds=34" in lines[1]
    box.pass_time(days=41)
    assert "stream.ids_right type=delivered" in told()


def test_a_hole_is_not_taken_for_a_loss_sooner_because_the_clock_was_set(box: Box) -> None:
    def found() -> int:
        box.trim()
        return len(find_losses(box.connect, PARTITION, lambda _: None, clocks=box.clocks))

    box.publish(3)
    assert found() == 0
    box.client.hincrby(KEYS.ledger, "delivered:published", 1)
    assert found() == 0
    box.set_server(40)
    assert found() == 0
    box.pass_time(hours=0.005)
    assert found() == 0
    box.pass_time(hours=0.01)
    assert found() == 1


def test_a_group_that_is_gone_goes_on_where_every_worker_was_while_nobody_can_tell_who_is_gone_for_long(
    box: Box,
) -> None:
    now_ms = int(box.client.time()[0]) * 1000
    for name, through in (("worker-1", "5-0"), ("worker-2", "9-0")):
        record = Record(batch=1, through=dict.fromkeys(TYPES, through))
        box.client.hset(KEYS.owners, name, f"{now_ms * 1000} {name}")
        box.client.hset(KEYS.records, f"{name} {name}", records.encode(record))
    box.client.set(KEYS.lease("worker-2"), "alive")
    box.client.hset(KEYS.ledger, "delivered:events", 9)
    box.trim()
    box.set_server(40)
    box.client.xgroup_destroy(DELIVERED, GROUP)
    stream = Stream(settings(box.path).stream, "worker-2", url=box.url)
    stream.open()
    stream.close()
    [group] = box.client.xinfo_groups(DELIVERED)
    assert group["last-delivered-id"] == b"5-0"


def test_events_whose_ids_do_not_tell_when_they_came_foretell_no_full_memory(box: Box) -> None:
    box.set_server(40)
    box.publish(300)
    box.set_server(0)
    assert measure(box.connect, PARTITION).streams[0].events_per_second == 0.0


class TestReplay:
    """A range by times where ids are ahead of the clock."""

    @pytest.fixture
    def ahead(self, box: Box) -> Box:
        self.before = box.publish(2)
        box.set_server(40)
        self.during = box.publish(2)
        box.set_server(0)
        self.after = box.publish(2)
        return box

    def replay(self, box: Box, *ends: str, code: int = 0) -> tuple[str, str]:
        into = box.path / "again" / "-".join(ends).replace("/", "")
        done = run("replay", "--redis", box.url, "--into", str(into), *ends, cwd=box.path.parent)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    def test_a_range_that_ends_at_a_time_cannot_be_told_and_ends_with_1(self, ahead: Box) -> None:
        out, told = self.replay(ahead, "--from", "1h", "--to", "2035-01-01", code=0)
        assert "6 events" in out
        out, told = self.replay(ahead, "--from", "1h", "--to", "1s", code=1)
        assert "6 events" not in out
        assert f"delivered: the newest id, {self.after[-1]}, is 40.0 days ahead of the server's clock" in told
        assert "incomplete: nobody can tell which entries of delivered arrived before the end of the range" in told

    def test_a_range_without_an_end_has_all_and_the_warning(self, ahead: Box) -> None:
        out, told = self.replay(ahead, "--from", "1h")
        assert "6 events" in out
        assert "warning: delivered: the newest id" in told

    def test_a_range_by_ids_is_as_good_as_ever(self, ahead: Box) -> None:
        out, told = self.replay(ahead, "--from", self.during[0], "--to", self.after[-1])
        assert "4 events" in out
        assert "incomplete" not in told

    def test_json_has_it_too(self, ahead: Box) -> None:
        out, _ = self.replay(ahead, "--from", "1h", "--json")
        [found] = json.loads(out)["ahead"]
        assert (found["type"], found["id"]) == ("delivered", self.after[-1])

    def test_other_types_are_not_concerned(self, ahead: Box) -> None:
        _, told = self.replay(ahead, "--from", "1h", "--to", "1s", "--types", "bounce")
        assert told == ""

    def test_an_hour_ago_is_by_the_servers_clock(self, ahead: Box, wall: WallClock) -> None:
        """Whatever the clock of the machine says on which the command runs."""
        ahead.set_server(-10)
        ahead.make_stream_anew()
        ahead.publish(3)
        out, told = self.replay(ahead, "--from", "1h", "--types", "delivered")
        assert "3 events" in out
        out, told = self.replay(ahead, "--from", "20d", "--to", "1h", "--types", "delivered")
        assert "0 events" in out
        assert "ahead" not in told
