"""The memory that a partition takes on its server, and how fast it grows: measured, without leaving anything behind."""

from typing import Any

from worker.forecast import Memory, StreamMemory
from worker.stream.clock import TOLERATED_MS
from worker.stream.keys import Keys
from worker.stream.link import Connector, Link
from worker.stream.ranges import number_of
from worker.stream.setup import info

_WINDOW_SECONDS = 900  # of the rate: long enough to be steady, short enough to follow the day
_SHORTEST_SECONDS = 60  # a stream that has just begun tells little


def measure(connect: Connector, partition: str) -> Memory:
    """Measure the streams of a partition and their server. Raises StreamUnavailable, Refused where it is forbidden."""
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        facts = info(link, "memory")
        seconds, microseconds = link.call("TIME")
        now = int(seconds) + int(microseconds) / 1e6
        return Memory(
            used_bytes=int(facts.get("used_memory", 0)),  # a hosted server may not tell
            max_bytes=int(facts.get("maxmemory", 0)),
            streams=[_stream(link, key, now) for key in keys.streams.values()],
        )
    finally:
        link.close()


def _stream(link: Link, key: str, now: float) -> StreamMemory:
    """Measure a stream; its entries' running numbers tell how many events came between two of them."""
    first, last = _entry(link, "XRANGE", key, "-", "+"), _entry(link, "XREVRANGE", key, "+", "-")
    if first is None or last is None:
        return StreamMemory(bytes=0, events=0, events_per_second=0.0)
    recent = _entry(link, "XRANGE", key, str(int((now - _WINDOW_SECONDS) * 1000)), "+")
    if _milliseconds(last) > now * 1000 + TOLERATED_MS:
        recent = None  # ids do not say when entries arrived: a rate that nobody knows counts for none
    age = now - _milliseconds(first) / 1000
    seconds = min(max(age, _SHORTEST_SECONDS), _WINDOW_SECONDS)
    return StreamMemory(
        bytes=link.call("MEMORY", "USAGE", key) or 0,
        events=_events(first, last),
        events_per_second=_events(recent, last) / seconds if recent else 0.0,
    )


def _entry(link: Link, *request: object) -> Any:  # noqa: ANN401 - as Redis sends it
    found = link.call(*request, "COUNT", 1)
    return found[0] if found else None


def _milliseconds(entry: Any) -> int:  # noqa: ANN401
    return int(entry[0].partition(b"-")[0])


def _events(first: Any, last: Any) -> int:  # noqa: ANN401
    """Count the events of all entries from one to another."""
    return max(0, number_of(last, b"at") - number_of(first, b"at") + number_of(first, b"n"))
