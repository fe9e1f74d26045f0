"""The memory of a real server, measured and foretold."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_command_line import run
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, settings
from worker.chores import Chores
from worker.directory import Directory
from worker.stream import Stream
from worker.stream.keys import Keys
from worker.stream.link import connector
from worker.stream.memory import measure

KEYS = Keys.of(PARTITION)
DELIVERED = KEYS.streams["delivered"]


@pytest.fixture
def client(valkey: RealValkey, tmp_path: Path) -> Any:
    stream = Stream(settings(tmp_path).stream, "worker-1", url=valkey.url)
    stream.open()
    stream.close()
    return valkey.client()


def add(client: Any, minutes_ago: float, entries: int, *, at: int) -> None:
    """Add entries of five events each, as of so many minutes ago; `at` events came before them."""
    seconds, _ = client.time()
    for number in range(entries):
        fields = {"events": "x" * 500, "n": 5, "at": at + 5 * (number + 1)}
        client.xadd(DELIVERED, fields, id=f"{int((seconds - minutes_ago * 60) * 1000)}-{number}")


def test_the_rate_is_that_of_the_last_quarter_of_an_hour(client: Any, valkey: RealValkey, tmp_path: Path) -> None:
    add(client, 60, 900, at=0)
    add(client, 5, 180, at=4500)  # 900 events in 900 seconds
    found = measure(connector(settings(tmp_path).stream, valkey.url), PARTITION)
    delivered, deferred, _ = found.streams
    assert delivered.events == 5400
    assert delivered.events_per_second == pytest.approx(1)
    assert 100 < delivered.bytes / delivered.events < 200
    assert (deferred.events, deferred.events_per_second) == (0, 0)
    assert found.used_bytes > delivered.bytes
    assert found.max_bytes == 0


def test_the_rate_of_a_young_stream_is_over_its_own_age(client: Any, valkey: RealValkey, tmp_path: Path) -> None:
    add(client, 5, 180, at=4500)
    found = measure(connector(settings(tmp_path).stream, valkey.url), PARTITION)
    assert found.streams[0].events_per_second == pytest.approx(3, rel=0.1)


def test_a_stream_that_rests_does_not_grow(client: Any, valkey: RealValkey, tmp_path: Path) -> None:
    add(client, 60, 900, at=0)
    found = measure(connector(settings(tmp_path).stream, valkey.url), PARTITION)
    assert (found.streams[0].events, found.streams[0].events_per_second) == (4500, 0)


@pytest.mark.parametrize("fields", [{"x": "y"}, {"n": "-1", "at": "many"}, {"n": "5", "at": "9" * 50}])
def test_entries_that_somebody_added_by_hand_do_no_harm(
    client: Any, valkey: RealValkey, tmp_path: Path, fields: dict[str, str]
) -> None:
    client.xadd(DELIVERED, fields)
    found = measure(connector(settings(tmp_path).stream, valkey.url), PARTITION)
    assert found.streams[0].events in {0, 5}


def test_status_foretells_when_the_memory_is_full(client: Any, valkey: RealValkey, tmp_path: Path) -> None:
    publisher = Publisher(client, PARTITION)
    publisher.publish_some(300, per_batch=10)
    assert "no maxmemory" in run("status", "--redis", valkey.url, cwd=tmp_path).stdout
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 20_000_000)
    shown = run("status", "--redis", valkey.url, cwd=tmp_path).stdout
    assert " in " in next(line for line in shown.splitlines() if " full " in line)
    memory = json.loads(run("status", "--json", "--redis", valkey.url, cwd=tmp_path).stdout)["memory"]
    assert memory["outlook"] == "full"
    growth = memory["events_per_second"] * memory["bytes_per_event"]
    assert memory["full_in_seconds"] == pytest.approx((memory["max_bytes"] - memory["used_bytes"]) / growth, rel=0.01)
    client.config_set("maxmemory", 10_000_000_000)
    assert "never at this rate" in run("status", "--redis", valkey.url, cwd=tmp_path).stdout


def test_memory_that_runs_short_is_told_once_and_once_that_it_does_not(
    client: Any, valkey: RealValkey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configured = settings(tmp_path)
    directory = Directory(
        configured.directory, configured.names, configured.rows, "worker-1", partition=PARTITION, archiving=False
    )
    chores = Chores(connector(configured.stream, valkey.url), configured.stream, directory)
    Publisher(client, PARTITION).publish_some(300, per_batch=10)
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 20_000_000)
    with caplog.at_level(logging.INFO):
        chores.run()
        chores.run()
        client.config_set("maxmemory", 0)
        chores.run()
    directory.release()
    found = [(record.levelno, record.getMessage().split(" used")[0]) for record in caplog.records]
    [(short, told), (enough, untold)] = [each for each in found if each[1].startswith("memory.")]
    assert (short, enough, untold) == (logging.WARNING, logging.INFO, "memory.enough full_in_seconds=None")
    assert told.startswith("memory.short full_in_seconds=")
