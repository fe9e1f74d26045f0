"""Connections to a real server, and what is told of an error: where it happened and what it is about."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from haraka.demo.waiting import ClosedPort
from tests.support.any_server import AnyServer
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, settings
from worker.errors import StreamUnavailable
from worker.stream.keys import Keys, type_of
from worker.stream.link import Link, connector
from worker.stream.script import Script

KEYS = Keys.of(PARTITION)
_commit = Script("commit")


@pytest.fixture
def link(valkey: RealValkey, tmp_path: Path) -> Iterator[Link]:
    made = Link(connector(settings(tmp_path).stream, valkey.url))
    made.open()
    yield made
    made.close()


def trouble(link: Link, *request: object) -> str:
    with pytest.raises(StreamUnavailable) as told:
        link.call(*request)
    return str(told.value)


def test_a_connection_can_be_opened_anew_any_number_of_times(valkey: RealValkey, tmp_path: Path) -> None:
    link = Link(connector(settings(tmp_path).stream, valkey.url))
    for _ in range(300):
        link.open()
    assert link.call("PING") == b"PONG"
    link.close()


def test_a_connection_tells_nothing_of_its_client_for_which_no_user_has_the_right(link: Link) -> None:
    told = dict(word.split("=", 1) for word in link.call("CLIENT", "INFO").decode().split())
    assert {told.get("lib-name", ""), told.get("lib-ver", "")} == {""}


@pytest.mark.parametrize(
    ("request_of", "key"),
    [
        (("XLEN", KEYS.dead), KEYS.dead),
        (("HGETALL", KEYS.ledger), KEYS.ledger),
        (("XINFO", "GROUPS", KEYS.streams["bounce"]), KEYS.streams["bounce"]),
        (("XGROUP", "CREATE", KEYS.streams["bounce"], "g", "$", "MKSTREAM"), KEYS.streams["bounce"]),
        (("SMEMBERS", KEYS.wanted), KEYS.wanted),
        (("GET", KEYS.epoch), KEYS.epoch),
        (("GET", KEYS.lease("w 1")), KEYS.lease("w 1")),
    ],
)
def test_a_key_of_the_wrong_type_is_named_once_with_what_was_expected(
    link: Link, request_of: tuple[str, ...], key: str
) -> None:
    link.call("RPUSH", key, "x")
    assert trouble(link, *request_of) == f"WRONGTYPE {key} is a list, expected a {type_of(key)}"


def test_of_the_keys_of_a_script_or_a_read_those_of_the_wrong_type_are_named(link: Link) -> None:
    reads = Script("snapshot")  # it does not look first, since it writes nothing
    link.call("SCRIPT", "LOAD", reads.source)
    streams = KEYS.streams.values()
    for key in (KEYS.settled, KEYS.streams["deferred"]):
        link.call("SET", key, "x")
    request = ("EVALSHA", reads.sha, 7, KEYS.ledger, KEYS.records, KEYS.dead, KEYS.settled, *streams, "accounting", 1)
    both = (
        "WRONGTYPE {haraka:accounting}:settled is a string, expected a stream; "
        "WRONGTYPE {haraka:accounting}:deferred is a string, expected a stream"
    )
    assert trouble(link, *request) == both
    link.send("PING")
    link.send("XREAD", "STREAMS", *streams, *["0"] * 3)
    link.send("ECHO", "behind it")
    assert link.receive() == b"PONG"
    with pytest.raises(StreamUnavailable, match=f"^WRONGTYPE {KEYS.streams['deferred']} is a string, expected"):
        link.receive()
    assert link.receive() == b"behind it"


def test_a_guard_of_ours_that_names_the_key_is_told_as_it_is(link: Link) -> None:
    find = Script("find_losses")
    link.call("SCRIPT", "LOAD", find.source)
    link.call("SET", KEYS.watch, "x")
    request = ("EVALSHA", find.sha, 3, KEYS.ledger, KEYS.watch, KEYS.streams["bounce"], "accounting", "bounce", 0, 1)
    told = trouble(link, *request)
    assert "WRONGTYPE {haraka:accounting}:watch is a string, expected a hash" in told
    assert told.count(KEYS.watch) == 1


def test_other_errors_name_the_command_and_its_keys(link: Link, tmp_path: Path) -> None:
    link.call("HSET", KEYS.ledger, "a", "b")
    assert trouble(link, "HINCRBY", KEYS.ledger, "a", 1).startswith(f"HINCRBY {KEYS.ledger}: ")
    assert trouble(link, "XINFO", "GROUPS", KEYS.dead) == f"XINFO GROUPS {KEYS.dead}: no such key"
    assert trouble(link, "EVALSHA", _commit.sha, 1, KEYS.owners).startswith("script commit: No matching script")
    assert trouble(link, "NONSENSE").startswith("NONSENSE: unknown command")
    link.call("CONFIG", "SET", "maxmemory", "1")
    assert trouble(link, "SADD", KEYS.wanted, "x").startswith(f"SADD {KEYS.wanted}: command not allowed when")


def test_missing_rights_name_what_was_asked_for(link: Link, valkey: RealValkey, tmp_path: Path) -> None:
    link.call("ACL", "SETUSER", "reader", "on", "nopass", "+evalsha", "+script|load", "+hget", "~other")
    link.call("SCRIPT", "LOAD", _commit.source)
    mine = Link(connector(settings(tmp_path).stream, valkey.url.replace("//", "//reader:x@")))
    mine.open()
    told = [
        trouble(mine, "HGET", KEYS.ledger, "a"),
        trouble(mine, "XLEN", KEYS.dead),
        trouble(mine, "EVALSHA", _commit.sha, 2, KEYS.owners, KEYS.records),
    ]
    mine.close()
    for text, subject in zip(
        told, (f"HGET {KEYS.ledger}", f"XLEN {KEYS.dead}", f"script commit {KEYS.owners}, {KEYS.records}"), strict=True
    ):
        assert text.startswith(f"{subject}: "), text
        assert "permission" in text


def test_a_server_that_is_away_is_named_whatever_went_wrong(tmp_path: Path) -> None:
    closed = ClosedPort()
    where = f"127.0.0.1:{closed.port}"
    with AnyServer(tmp_path / "server", "--requirepass", "secret") as server:
        for url, address, what in (
            (f"redis://{where}", where, "refused"),
            (f"unix://{tmp_path}/none.sock", f"{tmp_path}/none.sock", "No such file"),
            (server.url, f"127.0.0.1:{server.port}", "Authentication required"),
            (server.url.replace("//", "//:wrong@"), f"127.0.0.1:{server.port}", "WRONGPASS|invalid"),
            (
                server.url.replace("/0", "/99").replace("//", "//:secret@"),
                f"127.0.0.1:{server.port}",
                "DB index|SELECT",
            ),
            (f"redis://{'a' * 64}.example", "a" * 64, "label"),
        ):
            link = Link(connector(settings(tmp_path).stream, url))
            with pytest.raises(StreamUnavailable, match=what) as told:
                link.open()
                link.call("XLEN", KEYS.dead)
            if what != "Authentication required":
                assert str(told.value).count(address) == 1, told.value
    closed.close()


def test_every_key_has_a_type() -> None:
    named = [*KEYS.streams.values(), *KEYS[1:-1], KEYS.lease("worker-1")]
    assert None not in {type_of(str(key)) for key in named}
    assert type_of("{haraka:accounting}:other") is None
