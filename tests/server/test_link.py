"""Connections to a real server."""

from pathlib import Path

from tests.support.servers import RealValkey
from tests.support.workers import settings
from worker.stream.link import Link, connector


def test_a_connection_can_be_opened_anew_any_number_of_times(valkey: RealValkey, tmp_path: Path) -> None:
    link = Link(connector(settings(tmp_path).stream, valkey.url))
    for _ in range(300):
        link.open()
    assert link.call("PING") == b"PONG"
    link.close()
