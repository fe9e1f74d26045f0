"""Every command in environments that do not fit: no server, no rights there, no directory, bad variables, bad files."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haraka.demo.waiting import ClosedPort
from tests.server.broken import COMMANDS, Lab, run_here, troubles
from tests.server.test_command_line import run
from tests.support.any_server import AnyServer
from tests.support.servers import RealValkey
from worker.errors import ExitCode

#: Commands that need no server, and those that go on without one.
WITHOUT_SERVER = ("tidy", "verify", "find", "tail")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    path = tmp_path_factory.mktemp("environments")
    with RealValkey(path / "valkey") as server:
        made = Lab(server, path)
        made.restore()
        yield made


def test_without_a_server_each_command_says_where_it_should_be(lab: Lab) -> None:
    closed = ClosedPort()
    url = f"redis://127.0.0.1:{closed.port}"
    for command in COMMANDS:
        done = lab.run(command, url=url)
        assert list(troubles(command, done)) == []
        if not command.startswith(("tidy", "verify", "rotate")):
            assert f"127.0.0.1:{closed.port}" in done.err, command
        if not command.startswith((*WITHOUT_SERVER, "rotate")):
            assert done.code == ExitCode.UNAVAILABLE, (command, done)
    closed.close()


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_a_wrong_password_is_told_and_never_shown(lab: Lab, tmp_path: Path, secret: str) -> None:
    with AnyServer(tmp_path / "server", "--requirepass", "right-one") as server:
        url = server.url.replace("//", f"//:{secret}@") if secret else server.url
        for command in COMMANDS:
            done = lab.run(command, url=url)
            assert list(troubles(command, done)) == []
            assert "wrong@" not in done.err
            if not command.startswith((*WITHOUT_SERVER, "rotate")):
                assert done.code == ExitCode.UNAVAILABLE, (command, done)
                assert "auth" in done.err.lower() or "WRONGPASS" in done.err, (command, done)


def test_a_server_that_is_none_is_told(lab: Lab, tmp_path: Path) -> None:
    smtp = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
    smtp += "while True:\n c, _ = s.accept(); c.sendall(b'220 mail ESMTP\\r\\n' * 3)\n"
    with subprocess.Popen([sys.executable, "-c", smtp], stdout=subprocess.PIPE) as other:
        assert other.stdout
        url = f"redis://127.0.0.1:{int(other.stdout.readline())}"
        for command in COMMANDS:
            assert list(troubles(command, lab.run(command, url=url))) == []
        other.kill()


@pytest.mark.parametrize("place", ["missing", "file", "empty"])
def test_a_directory_that_is_none_is_named(lab: Lab, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    ini = tmp_path / "other.ini"
    ini.write_text(f"path={tmp_path}/{place}\n")
    for command in COMMANDS:
        words = command.format(path=tmp_path).replace("/files", f"/{place}").split()
        options = [] if words[0] == "verify" else ["--config", str(ini)]
        server = [] if words[0] in {"tidy", "verify"} else ["--redis", lab.url]
        done = run_here([*words, *options, *server])
        assert list(troubles(command, done)) == [], done
        if words[0] in {"find", "tail"} or (place != "empty" and words[0] == "tidy"):
            assert str(tmp_path / place) in done.err, done
            assert done.code in {ExitCode.UNAVAILABLE, ExitCode.CONFIGURATION}
        lab.restore()


FILES = (
    ".directory-id", ".partition", ".worker-1.lock", "delivered/.names", "delivered/.catalogue.jsonl",
    "delivered/x.json",
)  # fmt: skip
LOOKS = (
    "find --domain example.com", "tail", "audit", "audit --deep", "tidy", "verify {path}/files", "rotate --all",
    "status",
)  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[/red]\x1b[2J", b"{}", b"[" * 5000, b"9" * 5000])
@pytest.mark.parametrize("name", FILES)
def test_garbage_in_any_file_of_the_directory_ends_no_command_in_a_traceback(
    lab: Lab, tmp_path: Path, name: str, content: bytes
) -> None:
    shutil.copytree(lab.path / "files", tmp_path / "files")
    (tmp_path / "files" / name).write_bytes(content)
    ini = tmp_path / "other.ini"
    ini.write_text(f"path={tmp_path}/files\n")
    for command in LOOKS:
        words = command.format(path=tmp_path).split()
        options = [] if words[0] == "verify" else ["--config", str(ini)]
        server = [] if words[0] in {"tidy", "verify"} else ["--redis", lab.url]
        done = run_here([*words, *options, *server])
        assert list(troubles(command, done)) == [], done


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("ACCOUNTING_CONFIG", "/missing.ini", 78),
        ("ACCOUNTING_CONFIG", "/dev/zero", 78),
        ("ACCOUNTING_REDIS_URL", "http://h", 78),
        ("ACCOUNTING_REDIS_URL", "redis://h\x1b[31m", 78),
        ("ACCOUNTING_REDIS_PASSWORD", "\udcff", 78),
        ("ACCOUNTING_NAME", "a b", 78),
        ("ACCOUNTING_NAME", "\udcff", 78),
        ("TZ", "Nowhere/Land", 78),
        ("COLUMNS", "x", 0),
        ("COLUMNS", "1", 0),
        ("LC_ALL", "C", 0),
        ("TMPDIR", "/missing", 0),
        ("HOME", "/missing", 0),
    ],
)
def test_bad_variables_are_named_or_do_no_harm(lab: Lab, tmp_path: Path, variable: str, value: str, code: int) -> None:
    environ = {"ACCOUNTING_REDIS_URL": lab.url, "ACCOUNTING_CONFIG": str(lab.ini), variable: value}
    done = run("status", cwd=tmp_path, **environ)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    if code:
        said = done.stderr
        assert variable in said or value in said or "time zone" in said or "zero" in said


def test_an_ini_full_of_terminal_escapes_cannot_touch_the_terminal(tmp_path: Path) -> None:
    ini = tmp_path / "bad.ini"
    ini.write_text(
        "[\x1b[31m]\n\x1b[2J=1\npath=\x1b[0m\n[fields]\nbounce=\x1b]0;x\x07\n[redis]\nurl=\x1b[2J\npartition=\x1b\n"
    )
    for arguments in (["config", "check", str(ini)], ["status", "--config", str(ini)]):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == ExitCode.CONFIGURATION
        assert "\x1b" not in done.stdout + done.stderr
        assert (done.stdout + done.stderr).count("bad.ini") >= 4


def test_config_check_tells_what_a_worker_would_end_with_now(lab: Lab, tmp_path: Path) -> None:
    taken = lab.url.rpartition(":")[2].partition("/")[0]
    for text, expected in (
        (f"path={lab.path}/files\n[redis]\nurl=redis://h\npartition=other\n", "holds the files of partition haraka:"),
        (f"path={tmp_path}/x\n[server]\nport={taken}\n", f"port: {taken} is taken by another program"),
    ):
        (tmp_path / "a.ini").write_text(text)
        done = run("config", "check", str(tmp_path / "a.ini"), cwd=tmp_path)
        assert (done.returncode, expected in done.stdout) == (ExitCode.CONFIGURATION, True), done


def test_status_shows_what_it_can_and_names_the_rest(lab: Lab) -> None:
    lab.restore()
    lab.client.delete("{haraka:accounting}:dead")
    lab.client.set("{haraka:accounting}:dead", "x")
    lab.client.hset("{haraka:accounting}:ledger", "bounce:rows", "many")
    lab.client.hset("{haraka:accounting}:records", "worker-9 d9", "later")
    done = lab.run("status --json")
    told = json.loads(done.out)
    assert done.code == ExitCode.UNAVAILABLE
    assert told["types"]["delivered"]["ledger"]["published"] > 0
    assert "rows" not in told["types"]["bounce"]["ledger"]
    assert [each.partition(" cannot")[0] for each in sorted(told["unreadable"])] == [
        "WRONGTYPE {haraka:accounting}:dead is a string, expected a stream",
        "{haraka:accounting}:ledger: bounce:rows is 'many', expected a count",
        "{haraka:accounting}:records: the record of worker-9 d9",
    ]
    lab.restore()
