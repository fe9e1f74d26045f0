"""Reading ranges of the streams on a real server, beside a group that must not notice."""

from typing import Any

import pytest

from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION
from worker.batch import BatchSize
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Link
from worker.stream.ranges import Edge, Ranges

KEYS = Keys.of(PARTITION)
KEY = KEYS.streams["bounce"]


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def link(valkey: RealValkey) -> Link:
    link = Link(valkey.client().connection_pool.make_connection)
    link.open()
    return link


@pytest.fixture
def ranges(link: Link) -> Ranges:
    return Ranges(link, KEYS)


def add(client: Any, entries: int, size: int = 10) -> list[str]:
    """Add entries with the ids 1-0, 2-0 …, two events each."""
    ids = [f"{number}-0" for number in range(1, entries + 1)]
    for number, entry_id in enumerate(ids, 1):
        client.xadd(KEY, {"events": "x" * size, "n": 2, "at": 2 * number}, id=entry_id)
    return ids


def pages(found: Any) -> list[list[str]]:
    return [[entry_id.decode() for entry_id, _ in page] for page in found]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("-", "+", slice(0, 25)),
        ("3", "+", slice(2, 25)),
        ("(3-0", "+", slice(3, 25)),
        ("3-1", "7-0", slice(3, 7)),
        ("3-0", "(7-0", slice(2, 6)),
        ("26-0", "+", slice(0, 0)),
        ("7-0", "3-0", slice(0, 0)),
    ],
)
def test_every_entry_of_a_range_comes_once_and_in_order(
    client: Any, ranges: Ranges, start: str, end: str, expected: slice
) -> None:
    ids = add(client, 25)
    found = pages(ranges.entries("bounce", start, end, BatchSize(max_entries=4, max_bytes=1_000_000)))
    assert [each for page in found for each in page] == ids[expected]
    assert all(len(page) <= 4 for page in found)


def test_pages_of_large_entries_hold_few_of_them(client: Any, ranges: Ranges) -> None:
    add(client, 12, size=400_000)
    found = pages(ranges.entries("bounce"))
    assert sum(map(len, found)) == 12
    small = BatchSize(max_entries=2000, max_bytes=1_000_000, mean_bytes=300_000)
    assert list(map(len, pages(ranges.entries("bounce", page=small)))) == [3, 2, 2, 2, 2, 1]


def test_the_live_group_does_not_notice(client: Any, ranges: Ranges) -> None:
    Publisher(client, PARTITION).publish_some(30)
    for key in KEYS.streams.values():
        client.xgroup_create(key, GROUP, "0")
        client.xreadgroup(GROUP, "someone", {key: ">"}, count=3)

    def state() -> list[Any]:
        return [
            client.execute_command(*command, key)
            for key in KEYS.streams.values()
            for command in (("XINFO", "GROUPS"), ("XLEN",))
        ] + [client.xpending_range(key, GROUP, "-", "+", 100) for key in KEYS.streams.values()]

    before = state()
    assert sum(len(page) for page in ranges.entries("bounce")) == 10
    without_idle_time = [[{k: v for k, v in e.items() if k != "time_since_delivered"} for e in p] for p in before[6:]]
    after = state()
    assert after[:6] == before[:6]
    assert [
        [{k: v for k, v in e.items() if k != "time_since_delivered"} for e in p] for p in after[6:]
    ] == without_idle_time


def test_a_connection_can_be_used_on_when_reading_ends_early(client: Any, ranges: Ranges) -> None:
    add(client, 25)
    found = ranges.entries("bounce", page=BatchSize(max_entries=4, max_bytes=1_000_000))
    next(found)
    found.close()
    assert ranges.first("bounce") == Edge("1-0", 2, 2)
    assert ranges.last("bounce") == Edge("25-0", 2, 50)


def test_the_ends_of_an_empty_range_are_none_and_strange_numbers_are_zero(client: Any, ranges: Ranges) -> None:
    assert (ranges.first("bounce"), ranges.last("bounce")) == (None, None)
    client.xadd(KEY, {"n": "-1", "at": "9" * 40}, id="5-5")
    assert ranges.first("bounce", "5-5", "5-5") == Edge("5-5", 0, 0)
    assert ranges.last("bounce", "6-0") is None


def test_the_largest_id_that_there_can_be_ends_the_reading(client: Any, ranges: Ranges) -> None:
    largest = "18446744073709551615-18446744073709551615"
    client.xadd(KEY, {"n": 1}, id=largest)
    assert pages(ranges.entries("bounce")) == [[largest]]
