"""The audit's snapshot: right however large the entries are, and no script reads more of them than it may."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.audits import work
from tests.support.events import make_event
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, settings
from worker.stream import Connector
from worker.stream.keys import GROUP, Keys
from worker.stream.link import RedisConnection, connector
from worker.stream.snapshot import Snapshot, snapshots

KEYS = Keys.of(PARTITION)
BOUNCES = KEYS.streams["bounce"]
ENTRIES, EVENTS, BYTES = 300, 2, 2_000  # more than a page of the script


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def connect(valkey: RealValkey, tmp_path: Path) -> Connector:
    configured = settings(tmp_path / "files")
    work(configured, valkey.url, 0)  # makes the keys
    return connector(configured.stream, valkey.url)


@pytest.fixture
def filled(client: Any, connect: Connector) -> None:
    publisher = Publisher(client, PARTITION)
    for _ in range(ENTRIES):
        publisher.publish({"bounce": [make_event("bounce", 1, pad="x" * BYTES) for _ in range(EVENTS)]})


def taken(connect: Connector, read_bytes: int) -> Snapshot:
    with snapshots(connect, PARTITION, read_bytes) as made:
        return made.take()


def scripts_run(client: Any) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def entries_read(client: Any) -> int:
    stats = client.info("commandstats")
    return sum(int(stats[name]["calls"]) for name in ("cmdstat_xrange", "cmdstat_xrevrange"))


@pytest.mark.usefixtures("filled")
def test_pending_entries_beyond_what_a_script_may_read_are_counted_by_the_next_ones(
    client: Any, connect: Connector
) -> None:
    ids = [entry_id for entry_id, _ in client.xreadgroup(GROUP, "another", {BOUNCES: ">"}, count=200)[0][1]]
    client.xdel(BOUNCES, ids[7], ids[150])
    client.config_resetstat()
    found = taken(connect, 20_000).streams["bounce"].pending
    assert scripts_run(client) > 200 * EVENTS * BYTES / 20_000 / 2
    assert [each.id for each in found] == [entry_id.decode() for entry_id in ids]
    assert [each.events for each in found] == [None if number in {7, 150} else EVENTS for number in range(200)]
    assert found == taken(connect, 100_000_000).streams["bounce"].pending


@pytest.mark.usefixtures("filled")
def test_unread_entries_beyond_what_a_script_may_read_are_told_by_their_running_numbers(
    client: Any, connect: Connector
) -> None:
    client.xgroup_setid(BOUNCES, GROUP, client.xrange(BOUNCES, count=20)[-1][0])  # the server knows no lag any more
    client.xdel(BOUNCES, client.xrange(BOUNCES, count=50)[-1][0])
    all_of_them = taken(connect, 100_000_000).streams["bounce"]
    assert (all_of_them.counted, all_of_them.unread_events) == (279 * EVENTS, 279 * EVENTS)
    client.config_resetstat()
    some = taken(connect, 20_000).streams["bounce"]
    assert entries_read(client) < 30  # of 280
    assert (some.counted, some.unread_events) == (None, 280 * EVENTS)


@pytest.mark.usefixtures("filled")
def test_entries_added_by_hand_are_passed_over_as_far_as_a_script_may_read(client: Any, connect: Connector) -> None:
    client.xreadgroup(GROUP, "another", {BOUNCES: ">"}, noack=True)
    for _ in range(300):
        client.xadd(BOUNCES, {"events": "x" * BYTES})
    Publisher(client, PARTITION, "mx2").publish({"bounce": [make_event("bounce", 1)]})
    assert taken(connect, 100_000_000).streams["bounce"].unread_events == 1
    client.config_resetstat()
    assert taken(connect, 20_000).streams["bounce"].unread_events == 0
    assert entries_read(client) < 20


class Interrupted:
    """A connection on which something happens right before the second script is sent."""

    def __init__(self, connection: RedisConnection, happens: list[Callable[[], object]]) -> None:
        self._connection = connection
        self._happens = happens
        self._scripts = 0
        self.connect, self.disconnect = connection.connect, connection.disconnect
        self.read_response = connection.read_response

    def send_command(self, *args: Any) -> None:
        self._scripts += args[0] == "EVALSHA"
        if self._scripts == 2 and self._happens:
            self._happens.pop()()
        self._connection.send_command(*args)


@pytest.mark.usefixtures("filled")
def test_where_pending_entries_are_acknowledged_and_trimmed_meanwhile_it_is_taken_again(
    client: Any, connect: Connector
) -> None:
    ids = [entry_id for entry_id, _ in client.xreadgroup(GROUP, "another", {BOUNCES: ">"}, count=200)[0][1]]

    def leave() -> None:
        client.xack(BOUNCES, GROUP, *ids[:150])
        client.xtrim(BOUNCES, minid=ids[150], approximate=False)

    happens: list[Callable[[], object]] = [leave]
    found = taken(lambda: Interrupted(connect(), happens), 20_000).streams["bounce"].pending
    assert happens == []
    assert [(each.id, each.events) for each in found] == [(entry_id.decode(), EVENTS) for entry_id in ids[150:]]
