"""Waiting for replicas: what too few of them have counts neither as committed nor as a record to adopt."""

import pytest

from tests.server.fleet import KEYS, Fleet
from tests.support.streams import register
from tests.support.workers import changed, settings
from worker.errors import StreamUnavailable
from worker.records import Record
from worker.stream import Stream


def open_stream(fleet: Fleet, *, wait_replicas: int) -> Stream:
    configured = changed(settings(fleet.path), "stream", wait_replicas=wait_replicas, wait_ms=50).stream
    stream = Stream(configured, "worker-1", url=fleet.url)
    stream.open()
    return stream


def test_a_record_that_too_few_replicas_have_is_not_adopted(fleet: Fleet) -> None:
    stream = open_stream(fleet, wait_replicas=1)
    with pytest.raises(StreamUnavailable, match="reached 0 of 1 replicas"):
        register(stream, "dir")


def test_a_commit_that_too_few_replicas_have_does_not_count_as_acknowledged(fleet: Fleet) -> None:
    careless, careful = open_stream(fleet, wait_replicas=0), open_stream(fleet, wait_replicas=1)
    register(careless, "dir")
    careful._registered, careful._history = careless._registered, careless._history
    careful.send_commit(Record(batch=1), {})
    with pytest.raises(StreamUnavailable, match="reached 0 of 1 replicas"):
        careful.receive_commit()
    assert fleet.client.hexists(KEYS.records, "worker-1 dir")  # it ran all the same
