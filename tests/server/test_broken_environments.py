"""Every command beside everything that can be wrong with the server: one clear word, never a traceback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.broken import COMMANDS, KEYS, NAMES, Lab, troubles
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import HandClock, make_worker, settings
from worker.chores import Chores
from worker.stream.keys import type_of
from worker.stream.link import connector

WRONG = {"hash": "string", "string": "hash", "stream": "hash", "set": "string"}

#: Keys that only chores read.
NOT_NEEDED_TO_BEGIN = (KEYS.producers, KEYS.nodes, KEYS.settled)

GARBAGE = (b"", b"x", b"\xff\xfe\x00", b"-1", b"9" * 40, b"1.5", b"[/red]\x1b[2J", b"{}", b'{"batch":-1}', b"[" * 5000)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("broken")
    with RealValkey(path / "valkey") as server:
        yield Lab(server, path)


def set_wrong_type(lab: Lab, key: str) -> str:
    """Give a key another type; returns it."""
    kind = WRONG[type_of(key) or ""]
    lab.client.delete(key)
    if kind == "string":
        lab.client.set(key, "x")
    else:
        lab.client.hset(key, "field", "x")
    return kind


def test_every_command_works_before_anything_is_broken(lab: Lab) -> None:
    lab.restore()
    codes = {command: lab.run(command).code for command in COMMANDS}
    expected = {"find --rcpt a@b": 1, "retire worker-1 nobody": 1, "status --check worker-1": 1, "rotate --all": 1}
    odd = {command: code for command, code in codes.items() if code != expected.get(command, 0)}
    assert odd.keys() <= {"audit", "audit --json", "audit --deep", "dead retry --all", "dead drop --all --yes"}, odd


@pytest.mark.parametrize("key", NAMES, ids=lambda key: key.partition(":")[2].rpartition(":")[2])
def test_a_key_of_the_wrong_type_is_named_once_with_what_was_expected(lab: Lab, key: str) -> None:
    wrong, named = [], 0
    for command in COMMANDS:
        lab.restore()
        kind = set_wrong_type(lab, key)
        done = lab.run(command)
        wrong += list(troubles(command, done))
        if "WRONGTYPE" in done.out + done.err:
            named += 1
            said = f"{key} is a {kind}, expected a {type_of(key)}"
            if (done.out + done.err).count(said) != 1:
                wrong.append(f"{command}: {done}")
    assert wrong == []
    assert named or key in {KEYS.wanted, KEYS.written, KEYS.history}, f"no command reads {key}"  # these, workers alone


@pytest.mark.parametrize("key", [key for key in NAMES if type_of(key) == "hash"], ids=lambda key: key[-8:])
@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
def test_garbage_in_a_hash_stops_no_command_without_a_word(lab: Lab, key: str, garbage: bytes) -> None:
    wrong = []
    lab.restore()
    fields = lab.client.hkeys(key)
    for command in COMMANDS:
        if command.startswith(("find", "tail")) and key != KEYS.records:
            continue  # they read no other
        lab.restore()
        lab.client.hset(key, mapping=dict.fromkeys(fields, garbage) | {b"[/red]\x1b[2J\xff": garbage, b"": garbage})
        wrong += list(troubles(command, lab.run(command)))
    assert wrong == []


@pytest.mark.parametrize("key", [key for key in NAMES if type_of(key) == "stream"], ids=lambda key: key[-9:])
def test_entries_that_somebody_made_up_stop_no_command_without_a_word(lab: Lab, key: str) -> None:
    wrong = []
    made_up: tuple[dict[bytes, bytes], ...] = (
        {b"\xff\x1b[2J": b"\xff"},
        {b"events": b"[/red]\x1b[2J", b"n": b"9" * 30, b"at": b"x"},
        {
            b"type": b"[/red]\x1b[2J",
            b"id": b"\xff",
            b"index": b"-99999999999",
            b"bytes": b"\x1b[2J",
            b"error": b"\x1b[2J",
        },
        {b"type": b"bounce", b"id": b"", b"index": b"0", b"bytes": b"", b"n": b"-1"},
    )
    for command in COMMANDS:
        lab.restore()
        for fields in made_up:
            lab.client.xadd(key, fields)
        lab.client.xadd(key, {"events": "[]"}, id="18446744073709551614-1")
        wrong += list(troubles(command, lab.run(command)))
    assert wrong == []


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
def test_garbage_in_the_epoch_or_among_the_wanted_headers_stops_no_command(lab: Lab, garbage: bytes) -> None:
    wrong = []
    for command in COMMANDS:
        lab.restore()
        lab.client.set(KEYS.epoch, garbage)
        lab.client.sadd(KEYS.wanted, garbage)
        wrong += list(troubles(command, lab.run(command)))
    assert wrong == []


def test_an_empty_server_stops_no_command_without_a_word(lab: Lab) -> None:
    lab.client.flushall()
    assert [trouble for command in COMMANDS for trouble in troubles(command, lab.run(command))] == []


@pytest.mark.parametrize("key", NAMES, ids=lambda key: key.partition(":")[2].rpartition(":")[2])
def test_a_workers_log_names_a_key_of_the_wrong_type(lab: Lab, tmp_path: Path, key: str) -> None:
    lab.restore()
    kind = set_wrong_type(lab, key)
    worker = WorkerProcess(lab.ini, lab.url, log=tmp_path / "log")
    worker.start(ready=False)
    try:
        said = f"{key} is a {kind}, expected a {type_of(key)}"
        wait_until(lambda: said in worker.log() or "worker.ready" in worker.log(), f"“{said}”")
        if "worker.ready" in worker.log():
            assert key in NOT_NEEDED_TO_BEGIN, worker.log()
        assert "Traceback" not in worker.log()
    finally:
        worker.kill()


@pytest.mark.parametrize("key", NOT_NEEDED_TO_BEGIN)
def test_a_chore_names_a_key_of_the_wrong_type(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    lab.restore()
    kind = set_wrong_type(lab, key)
    configured = settings(tmp_path / "files")
    worker = make_worker(configured, None, HandClock(), url=lab.url)
    Chores(connector(configured.stream, lab.url), configured.stream, worker._directory).run()
    worker.release()
    told = [record.getMessage() for record in caplog.records if "WRONGTYPE" in record.getMessage()]
    assert told
    assert all(text.startswith("chores.postponed") for text in told)
    assert all(text.count(f"{key} is a {kind}, expected a {type_of(key)}") == 1 for text in told), told
