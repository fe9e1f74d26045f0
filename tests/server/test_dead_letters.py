"""Dead letters on a real server: retried once, dropped once, and the ledger in balance all the while."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas.catalogue import DEFAULT_COLUMNS
from schemas.events import TYPES
from tests.server.test_command_line import run
from tests.support.events import encode, make_event
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.users import add_worker
from tests.support.workers import PARTITION, HandClock, changed, drain, make_worker, settings
from worker.errors import ExitCode, StreamUnavailable
from worker.loop import Worker
from worker.settings import Settings
from worker.stream import Stream
from worker.stream.dead_letters import Outcome, dead_letters
from worker.stream.inspection import inspect
from worker.stream.keys import Keys
from worker.stream.link import Connector, RedisConnection, connector
from worker.stream.script import Script

KEYS = Keys.of(PARTITION)
GOOD = encode([make_event("bounce", 7)])[1:-1]


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return settings(tmp_path / "files")


@pytest.fixture
def connect(valkey: RealValkey, configured: Settings) -> Connector:
    """Return what connects to a server whose keys are set up."""
    stream = Stream(configured.stream, "worker-1", url=valkey.url)
    stream.open()
    stream.close()
    return connector(configured.stream, valkey.url)


def set_aside(client: Any, event_type: str = "bounce", index: int = 0, payload: bytes = GOOD, n: int = 0) -> str:
    """Add a letter as a commit does, of an entry that was published and acknowledged."""
    for counter in ("published", "dead"):
        client.hincrby(KEYS.ledger, f"{event_type}:{counter}", n or 1)
    fields = {"type": event_type, "id": "5-1", "index": index, "bytes": payload, "error": "Expected `str` - at `$.x`"}
    letter_id: bytes = client.xadd(KEYS.dead, fields | ({"n": n} if n else {}))
    return letter_id.decode()


def work(configured: Settings, url: str, events: int) -> Worker:
    """Let a worker write that many events, and stop it."""
    worker = make_worker(configured, None, HandClock(), url=url)
    worker.recover()
    drain(worker, events)
    worker.stop()
    worker.run()
    return worker


def counts(client: Any, *counters: str, event_type: str = "bounce") -> list[int]:
    return [int(value or 0) for value in client.hmget(KEYS.ledger, *(f"{event_type}:{each}" for each in counters))]


def check_balance(client: Any, connect: Connector) -> None:
    """Compare what was published with where it all is, each term from where it really is."""
    held = dict.fromkeys(TYPES, 0)
    for _, fields in client.xrange(KEYS.dead):
        held[fields[b"type"].decode()] += int(fields.get(b"n", 1))
    for event_type, status in inspect(connect, PARTITION).types.items():
        ledger = status.ledger
        gone = ledger["retried"] + ledger["dropped"]
        here = status.pending.events + status.unread.events
        assert ledger["published"] == ledger["events"] + held[event_type] + gone + ledger["lost"] + here
        assert ledger["dead"] == held[event_type] + gone


def everything(client: Any) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.keys("*")}


def test_an_event_that_a_fixed_worker_can_read_becomes_one_row(
    client: Any, connect: Connector, valkey: RealValkey, configured: Settings, tmp_path: Path
) -> None:
    bad = make_event("bounce", 2, srcMta=5)
    Publisher(client, PARTITION).publish({"bounce": [make_event("bounce", 1), bad, make_event("bounce", 3)]})
    work(configured, valkey.url, 3)
    check_balance(client, connect)
    [letter] = json.loads(run("dead", "list", "--json", "--redis", valkey.url, cwd=tmp_path).stdout)
    assert (letter["type"], letter["index"]) == ("bounce", 1)
    for expected, code in (("retried 1\n", 0), ("retried 0\n", 1)):  # the second is a user who saw no reply
        result = run("dead", "retry", letter["id"], "--redis", valkey.url, cwd=tmp_path)
        assert (result.stdout, result.returncode) == (expected, code)
        check_balance(client, connect)
    columns = {name: [each for each in DEFAULT_COLUMNS[name] if each != "srcMta"] for name in TYPES}
    work(changed(configured, "rows", columns=columns), valkey.url, 1)
    found = recipients_in(tmp_path / "files")
    assert found == {f"bounce{number}.0@example.com": 1 for number in (1, 2, 3)}
    assert client.xlen(KEYS.dead) == 0
    assert counts(client, "published", "events", "dead", "retried") == [4, 3, 1, 1]
    check_balance(client, connect)


def test_a_retried_event_is_an_entry_like_a_published_one(client: Any, connect: Connector) -> None:
    letter_id = set_aside(client)
    Publisher(client, PARTITION).publish_some(6)
    with dead_letters(connect, PARTITION, change=True) as dead:
        assert dead.retry(dead.get(letter_id)) is Outcome.DONE
    [(_, fields)] = client.xrevrange(KEYS.streams["bounce"], count=1)
    [published] = counts(client, "published")
    expected = {b"events": b"[" + GOOD + b"]", b"n": b"1", b"at": str(published).encode()}
    assert fields == {b"letter": letter_id.encode(), **expected}
    assert next(iter(fields)) == b"letter"  # so it is not known by the id that its event had before
    check_balance(client, connect)


def test_a_whole_entry_comes_back_as_all_its_events(
    client: Any, connect: Connector, valkey: RealValkey, configured: Settings, tmp_path: Path
) -> None:
    letter_id = set_aside(client, index=-1, payload=b"[" + GOOD + b"," + GOOD + b"]", n=2)
    check_balance(client, connect)
    with dead_letters(connect, PARTITION, change=True) as dead:
        assert dead.retry(dead.get(letter_id)) is Outcome.DONE
    check_balance(client, connect)
    work(configured, valkey.url, 2)
    assert recipients_in(tmp_path / "files") == {"bounce7.0@example.com": 2}
    assert counts(client, "published", "events", "dead", "retried") == [4, 2, 2, 2]
    check_balance(client, connect)


def test_an_entry_that_nobody_can_read_dies_again_as_one_letter(
    client: Any, connect: Connector, valkey: RealValkey, configured: Settings
) -> None:
    set_aside(client, index=-1, payload=b"\xff not json")
    with dead_letters(connect, PARTITION, change=True) as dead:
        until = dead.last_id()
        for letter in dead.letters(until):  # a worker that fails them at once must not make this endless
            assert dead.retry(letter) is Outcome.DONE
            work(configured, valkey.url, 1)
    [(_, fields)] = client.xrange(KEYS.dead)
    assert (fields[b"index"], fields[b"bytes"]) == (b"-1", b"\xff not json")
    assert counts(client, "published", "events", "dead", "retried") == [2, 0, 2, 1]
    check_balance(client, connect)


def test_all_letters_of_a_type_are_retried_and_those_that_come_meanwhile_are_left(
    client: Any, connect: Connector, valkey: RealValkey, tmp_path: Path
) -> None:
    for number in range(120):  # more than a page
        set_aside(client, "bounce" if number % 2 else "deferred")
    with dead_letters(connect, PARTITION) as dead:
        until = dead.last_id()
        set_aside(client)
        assert len(list(dead.letters(until, "bounce"))) == 60
    result = run("dead", "retry", "--all", "--type", "bounce", "--redis", valkey.url, cwd=tmp_path)
    assert (result.stdout, result.returncode) == ("retried 61\n", 0)
    assert (client.xlen(KEYS.dead), client.xlen(KEYS.streams["bounce"])) == (60, 61)
    assert counts(client, "retried", event_type="deferred") == [0]
    check_balance(client, connect)


class LosesReply:
    """A connection whose reply to a script never arrives, though the script runs."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._lost = False
        self.connect, self.disconnect = connection.connect, connection.disconnect

    def send_command(self, *args: Any) -> None:
        self._lost = args[0] == "EVALSHA"
        self._connection.send_command(*args)

    def read_response(self) -> Any:
        reply = self._connection.read_response()
        if self._lost:
            raise redis.ConnectionError("reply lost")
        return reply


@pytest.mark.parametrize("act", ["retry", "drop"])
def test_a_retry_or_drop_whose_reply_was_lost_is_not_done_twice(client: Any, connect: Connector, act: str) -> None:
    letter_id = set_aside(client)
    with dead_letters(connect, PARTITION, change=True) as dead:
        letter = dead.get(letter_id)
    with dead_letters(lambda: LosesReply(connect()), PARTITION, change=True) as dead, pytest.raises(StreamUnavailable):
        dead.retry(letter) if act == "retry" else dead.drop(letter_id)
    before = everything(client)
    assert client.xlen(KEYS.dead) == 0
    with dead_letters(connect, PARTITION, change=True) as dead:
        assert (dead.retry(letter) if act == "retry" else dead.drop(letter_id)) is Outcome.GONE
    assert everything(client) == before
    check_balance(client, connect)


def notes(client: Any) -> list[tuple[bytes, bytes, bytes]]:
    """Return what is noted of letters that left: type, entry and index."""
    found = [fields for _, fields in client.xrange(KEYS.settled) if b"type" in fields]
    return [(fields[b"type"], fields[b"id"], fields[b"index"]) for fields in found]


def test_a_letter_that_leaves_is_noted_once_with_the_event_that_it_was(client: Any, connect: Connector) -> None:
    first, second = set_aside(client), set_aside(client, "deferred", index=-1)
    forged: list[dict[str, object]] = [
        {"id": "5-1", "index": "x"}, {"id": "5", "index": 1}, {"id": "9" * 30_000 + "-1", "index": 1}, {},
    ]  # fmt: skip
    strange = [client.xadd(KEYS.dead, {"type": "bounce", "bytes": GOOD} | fields).decode() for fields in forged]
    assert notes(client) == []
    with dead_letters(connect, PARTITION, change=True) as dead:
        assert [dead.retry(dead.get(first)), dead.drop(first)] == [Outcome.DONE, Outcome.GONE]
        assert [dead.drop(second), dead.drop(second)] == [Outcome.DONE, Outcome.GONE]
        for letter_id in strange:
            assert dead.drop(letter_id) is Outcome.DONE
    assert notes(client) == [(b"bounce", b"5-1", b"0"), (b"deferred", b"5-1", b"-1")]


def test_no_more_notes_stand_than_there_may_be(client: Any, connect: Connector) -> None:
    sha = client.script_load(Script("dead_drop").source)
    for _ in range(450):
        client.evalsha(sha, 3, KEYS.ledger, KEYS.dead, KEYS.settled, set_aside(client), 150, *TYPES)
    assert 150 <= len(notes(client)) <= 250  # whole nodes of the stream go


@pytest.mark.parametrize("act", ["retry", "drop"])
def test_a_note_that_cannot_be_written_keeps_no_letter(client: Any, connect: Connector, act: str) -> None:
    letter_id = set_aside(client)
    exhaust_ids(client, KEYS.settled)
    with dead_letters(connect, PARTITION, change=True) as dead:
        assert (dead.retry(dead.get(letter_id)) if act == "retry" else dead.drop(letter_id)) is Outcome.DONE
    assert (client.xlen(KEYS.dead), notes(client)) == (0, [])
    check_balance(client, connect)


def exhaust_ids(client: Any, key: str = KEYS.streams["bounce"]) -> None:
    last = f"{2**64 - 1}-{2**64 - 1}"
    client.xadd(key, {"a": 1}, id=last)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client: client.hset(KEYS.ledger, "bounce:published", "many"),
        lambda client: client.hset(KEYS.ledger, "bounce:published", "007"),
        lambda client: client.hset(KEYS.ledger, "bounce:published", 2**63 - 1),
        lambda client: client.hset(KEYS.ledger, "bounce:retried", 2**63 - 1),
        lambda client: (client.delete(KEYS.streams["bounce"]), client.set(KEYS.streams["bounce"], "x")),
        lambda client: (client.delete(KEYS.ledger), client.set(KEYS.ledger, "x")),
        lambda client: (client.delete(KEYS.settled), client.set(KEYS.settled, "x")),
        exhaust_ids,
    ],
)
def test_a_retry_that_cannot_be_done_changes_nothing(client: Any, connect: Connector, spoil: Any) -> None:
    letter_id = set_aside(client)
    spoil(client)
    before = everything(client)
    with dead_letters(connect, PARTITION, change=True) as dead, pytest.raises(StreamUnavailable):
        dead.retry(dead.get(letter_id))
    assert everything(client) == before


@pytest.mark.parametrize("value", ["many", "1.5", "007", 2**63 - 1])
def test_a_drop_that_cannot_be_counted_changes_nothing(client: Any, connect: Connector, value: object) -> None:
    letter_id = set_aside(client)
    client.hset(KEYS.ledger, "bounce:dropped", value)
    before = everything(client)
    with dead_letters(connect, PARTITION, change=True) as dead, pytest.raises(StreamUnavailable):
        dead.drop(letter_id)
    assert everything(client) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "owners", "id": "1-0", "index": 0, "bytes": GOOD, "error": "e"},
        {"type": b"\xff\x00", "id": "1-0", "index": 0, "bytes": GOOD},
        {"type": "bounce", "id": "1-0", "index": "x", "bytes": GOOD},
        {"a": "b"},
    ],
)
def test_a_letter_that_belongs_to_no_stream_is_not_retried_and_can_be_dropped(
    client: Any, connect: Connector, valkey: RealValkey, tmp_path: Path, fields: dict[Any, Any]
) -> None:
    client.xadd(KEYS.dead, fields, id="77-0")
    before = everything(client)
    result = run("dead", "retry", "--all", "--redis", valkey.url, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "retried 0\n")
    assert "77-0 belongs to no stream" in result.stderr
    assert everything(client) == before
    with dead_letters(connect, PARTITION, change=True) as dead:
        assert dead.drop("77-0") is Outcome.DONE
    assert client.xlen(KEYS.dead) == 0
    assert all(field.decode().partition(":")[0] in TYPES for field in client.hkeys(KEYS.ledger))


def test_on_a_full_server_letters_can_be_retried_and_dropped(client: Any, connect: Connector) -> None:
    first, second = set_aside(client), set_aside(client)
    client.config_set("maxmemory", 1)
    with dead_letters(connect, PARTITION, change=True) as dead:
        assert dead.retry(dead.get(first)) is Outcome.DONE
        assert dead.drop(second) is Outcome.DONE
    assert (client.xlen(KEYS.dead), client.xlen(KEYS.streams["bounce"])) == (0, 1)
    assert counts(client, "retried", "dropped") == [1, 1]
    check_balance(client, connect)


def test_the_workers_user_may_do_all_of_it(client: Any, connect: Connector, valkey: RealValkey, tmp_path: Path) -> None:
    url = add_worker(client, valkey.url)
    first, second = set_aside(client), set_aside(client)
    for arguments in (["list"], ["show", first], ["retry", first], ["drop", second, "--yes"]):
        result = run("dead", *arguments, "--redis", url, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert client.xlen(KEYS.dead) == 0


def test_hostile_letters_are_listed_and_shown_with_every_control_character_escaped(
    client: Any, valkey: RealValkey, tmp_path: Path
) -> None:
    payload = b"\xff\x1b[2J\r\n[red]"
    fields = {"type": b"\x1btype", "id": b"\x9b5-1\n", "index": 3, "bytes": payload, "error": "a\u202eb" + "e" * 500}
    letter_id = client.xadd(KEYS.dead, fields, id="1795373309671-0").decode()
    common = ("--redis", valkey.url)
    listed, shown = (run("dead", *arguments, *common, cwd=tmp_path) for arguments in (["list"], ["show", letter_id]))
    for result in (listed, shown):
        assert result.returncode == 0, result.stderr
        assert all(char.isprintable() or char == "\n" for char in result.stdout)
        assert all(text in result.stdout for text in (letter_id, "2026-11-22 18:48:29", "\\x1btype", "a\\u202eb"))
    assert "\\xff\\x1b[2J\\r\\n[red]" in shown.stdout
    [summary] = json.loads(run("dead", "list", "--json", *common, cwd=tmp_path).stdout)
    assert summary == {
        "id": letter_id, "at_ms": 1_795_373_309_671, "type": "\x1btype", "entry": "\ufffd5-1\n", "index": 3,
        "size": len(payload), "error": "a\u202eb" + "e" * 500,
    }  # fmt: skip
    full = json.loads(run("dead", "show", letter_id, "--json", *common, cwd=tmp_path).stdout)
    assert (full["text"], full["base64"]) == ("\ufffd\x1b[2J\r\n[red]", "/xtbMkoNCltyZWRd")
    command = [sys.executable, "-m", "worker", "dead", "show", letter_id, "--raw", *common]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout == payload


def test_a_long_list_is_cut_and_says_so(client: Any, connect: Connector, valkey: RealValkey, tmp_path: Path) -> None:
    first, second, _ = (set_aside(client) for _ in range(3))
    result = run("dead", "list", "--json", "--limit", "2", "--redis", valkey.url, cwd=tmp_path)
    assert [each["id"] for each in json.loads(result.stdout)] == [first, second]
    assert "only the first 2" in result.stderr
    result = run("dead", "list", "--limit", "3", "--redis", valkey.url, cwd=tmp_path)
    assert result.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["retry", "1-0", "--all"],
        ["retry", "1-0", "--type", "bounce"],
        ["retry", "1"],
        ["show", "-"],
        ["drop", "--yes"],
        ["drop", "--all"],  # nobody to ask
    ],
)
def test_a_command_that_could_mean_something_else_is_refused(
    client: Any, connect: Connector, valkey: RealValkey, tmp_path: Path, arguments: list[str]
) -> None:
    client.xadd(KEYS.dead, {"type": "bounce", "index": 0, "bytes": GOOD}, id="1-0")
    result = run("dead", *arguments, "--redis", valkey.url, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert client.xlen(KEYS.dead) == 1


def test_a_letter_that_is_not_there_is_named(valkey: RealValkey, tmp_path: Path) -> None:
    for command in ("show", "retry"):
        result = run("dead", command, "1-0", "--redis", valkey.url, cwd=tmp_path)
        assert result.returncode == ExitCode.FAILED
        assert "no dead letter 1-0" in result.stderr


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 2), (b"y\n", 0)])
def test_a_drop_asks_at_a_terminal(
    connect: Connector, valkey: RealValkey, tmp_path: Path, answer: bytes, left: int
) -> None:
    client = valkey.client()
    set_aside(client), set_aside(client)
    terminal, stdin = pty.openpty()
    os.write(terminal, answer)
    command = [sys.executable, "-m", "worker", "dead", "drop", "--all", "--redis", valkey.url]
    result = subprocess.run(command, cwd=tmp_path, stdin=stdin, capture_output=True, text=True, timeout=60, check=False)
    os.close(terminal)
    os.close(stdin)
    assert "Drop 2 dead letters for good?" in result.stdout
    assert result.returncode == (1 if left else 0)
    assert (client.xlen(KEYS.dead), counts(client, "dropped")) == (left, [2 - left])
    check_balance(client, connect)
