"""Every key of a partition replaced by garbage of every type: told by its key, nothing else touched, then exactly once.

The generated matrix is key x type x value; CI takes a part of it, `GARBAGE=all` the whole.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.server.fleet import KEYS, Fleet
from tests.server.test_strangers import facts
from tests.support.servers import RealValkey
from worker import cli
from worker.errors import AccountingError, ExitCode, ServerRefused
from worker.loop import Worker
from worker.stream.keys import type_of
from worker.stream.link import Refused

_EVERY = 1 if os.environ.get("GARBAGE") == "all" else 15

_STRANGER = b'{"name":"%s","inode":%d,"length":3,"rows":1,"opened_ms":1}'
_KINDS = ("string", "list", "set", "zset", "hash", "stream")
_VALUES = {
    "empty": b"", "nul": b"\0", "no utf-8": b"\xff\xfe", "text": b"x", "-1": b"-1", "2**53": b"9007199254740992",
    "2**64": b"18446744073709551616", "1e400": b"1e400", "nan": b"nan", "path": b"../../private/secret",
    "array": b"[]", "number": b"5", "null": b"null", "object": b'{"a":{}}', "deep": b"[" * 100_000,
    "deep object": b'{"files":' * 50_000, "long": b"9" * 100_000, "escape": b"\x1b[2J[/red]",
    "two words": b"1 ../../private",
    "words": b"1 x 99999999999999999999 h p", "digits": "٣".encode(), "batch": b'{"batch":9007199254740993}',
    "stranger": b'{"batch":99,"files":{"delivered":' + _STRANGER + b"}}",
    "in sight": b'{"batch":99,"files":{"delivered":' + _STRANGER.replace(b"%s", b"notes.txt") + b"}}",
    "unknown type": b'{"batch":99,"files":{"other":' + _STRANGER + b"}}",
    "closing": b'{"batch":99,"closing":[{"event_type":"delivered","reason":"size","file":' + _STRANGER + b"}]}",
}  # fmt: skip

_ALL = {**KEYS.streams, **{name: value for name, value in KEYS._asdict().items() if isinstance(value, str)}}
_ALL["lease"] = KEYS.lease("worker-1")
del _ALL["lease_prefix"]
_CASES = [
    (name, kind, value)
    for name, key in _ALL.items()
    for kind in _KINDS
    for value in (_VALUES if kind == type_of(key) else ["text"])
]

_COMMANDS = [
    ["status"], ["status", "--json"], ["audit"], ["audit", "--deep"], ["find", "--domain", "example.com"],
    ["producers"], ["dead", "list"], ["dead", "show", "1-1"], ["dead", "retry", "--all"], ["retire", "dead"],
    ["dead", "drop", "1-1", "--yes"], ["replay", "--from", "1h"], ["directory", "show"], ["rotate"], ["tail"], ["tidy"],
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealValkey]:
    with RealValkey(tmp_path_factory.mktemp("valkey")) as made:
        yield made


@pytest.fixture
def fleet(server: RealValkey, tmp_path: Path) -> Iterator[Fleet]:
    """Return a worker at work, a dead neighbour with a file, a dead letter, and a secret file beside the directory."""
    made = Fleet(server, tmp_path / "files")
    made.client.flushall()
    yield made
    for worker in made.workers:
        worker.release()
    made.client.close()


def write(fleet: Fleet, key: str, kind: str, value: bytes) -> None:
    """Put garbage in the place of a key; where the type is right, in the place of every field of it."""
    client, is_hash = fleet.client, kind == "hash" == type_of(key)
    fields = client.hkeys(key) if is_hash else []
    if not (kind == "stream" == type_of(key)):
        client.delete(key)
    match kind:
        case "string":
            client.set(key, value)
        case "list":
            client.rpush(key, value)
        case "set":
            client.sadd(key, value)
        case "zset":
            client.zadd(key, {value: 1})
        case "hash":
            client.hset(key, mapping=dict.fromkeys([*fields, value, b"worker-1", b"x " + value], value))
        case _:
            client.xadd(key, {b"events": value, b"n": value, b"at": value, b"type": value, value: value})


def attempt(worker: Worker, told: list[AccountingError]) -> None:
    """Let a worker do what it does: a batch, a look around, a recovery; what it says of it goes to a list."""
    for act in (worker.step, worker._look_around, worker._recover_once, worker.step, worker._recover_once):
        try:
            act()
        except AccountingError as error:
            told.append(error)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    sys.argv = ["haraka-accounting", *words]
    code = cli.run()
    return code, "".join(capsys.readouterr())


@pytest.mark.parametrize(("name", "kind", "value"), _CASES[::_EVERY], ids=lambda each: each)
def test_garbage_is_told_touches_nothing_else_and_once_repaired_each_row_stands_once(  # noqa: PLR0917
    fleet: Fleet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    value: str,
) -> None:  # fmt: skip
    secret = tmp_path / "private" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret\n" * 9)
    dead, worker = fleet.worker("dead"), fleet.worker("worker-1")
    fleet.publisher.publish_some(9)
    fleet.work(dead)
    fleet.die(dead)
    fleet.client.xadd(KEYS.streams["bounce"], {"events": b"[0]"})
    fleet.publisher.publish_some(9)
    fleet.work(worker)
    notes = fleet.path / "delivered" / "notes.txt"
    notes.write_text("notes\n")
    before, key, told = (facts(secret), facts(notes)), _ALL[name], list[AccountingError]()
    good = fleet.client.dump(key)

    garbage = _VALUES[value]
    if b"%d" in garbage:
        garbage = garbage.replace(b"%s", b"../../private/secret").replace(b"%d", b"%d" % secret.stat().st_ino)
    write(fleet, key, kind, garbage)
    with suppress(Exception):  # the plugin's script has its own tests
        fleet.publisher.publish_some(3)
    attempt(worker, told)
    configured = tmp_path / "accounting_files.ini"
    configured.write_text(f"path={fleet.path}\narchiving=true\n[redis]\nurl={fleet.url}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    for command in _COMMANDS:
        words = [*command, *(["--into", str(tmp_path / "out")] if command[0] == "replay" else [])]
        code, output = run(capsys, *words, "--config", str(configured))
        assert code != ExitCode.BUG, (command, output)
        assert "Traceback" not in output, (command, output)
        assert len(output) < 100_000, (command, len(output))
    for error in told:
        if isinstance(error, ServerRefused | Refused):
            assert re.search(rf"{re.escape(key)}\b|script|journal", str(error)), str(error)[:500]
            assert len(str(error)) < 2_000
    assert (facts(secret), facts(notes)) == before

    if kind != "stream" or type_of(key) != "stream":
        fleet.client.restore(key, 0, good, replace=True) if good else fleet.client.delete(key)
    fleet.die(worker)
    fleet.client.delete(*(KEYS.lease(each) for each in ("dead", "worker-1")))
    again = fleet.worker("worker-1")
    fleet.work(again)
    again.stop()
    again.run()
    assert (facts(secret), facts(notes)) == before
    notes.unlink()
    fleet.check()
