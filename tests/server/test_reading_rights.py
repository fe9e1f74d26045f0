"""Who may only read the directory can look into it; what cannot be read is named, and the rest is shown."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.errors import ExitCode
from worker.manifest import manifest_path

NOBODY = 65_534
#: Root without these is held by permissions like any other user; /root and the checkout it can still read.
RIGHTS = ("dac_override", "dac_read_search", "fowner", "chown")


def restricted() -> Sequence[str]:
    """Return what starts a process that permissions hold for."""
    if os.geteuid() != 0:
        return ()
    without = ",".join(f"-{right}" for right in RIGHTS)
    return (shutil.which("setpriv") or "setpriv", f"--bounding-set={without}", f"--inh-caps={without}")


class Reader:
    """A directory that a worker has filled, and commands of somebody who belongs to its group."""

    def __init__(self, valkey: RealValkey, path: Path) -> None:
        self.files = path / "files"
        self.url = valkey.url
        self.ini = path / "accounting_files.ini"
        self.ini.write_text(f"path={self.files}\narchiving=true\n[server]\ndirectory=/nobody/may/write\n")
        client = valkey.client()
        self.publisher = Publisher(client, PARTITION)
        first = WorkerProcess(self.ini, self.url)
        first.start()
        self.publish(3)
        assert first.stop() == 0
        self.worker = WorkerProcess(self.ini, self.url)
        self.worker.start()
        self.publish(6)

    def publish(self, rows: int) -> None:
        """Publish three events, and wait until so many rows stand there."""
        self.publisher.publish_some(3)
        wait_until(lambda: sum(len(each.read_bytes().splitlines()) - 1 for each in self.data()) == rows, "rows")

    def data(self) -> list[Path]:
        return [each for each in self.files.rglob("*.tsv") if each.is_file()]

    def only_read(self) -> None:
        """Leave the reader nothing but the right to read, by the group where the test runs as root."""
        for each in (self.files, *self.files.rglob("*")):
            each.chmod(0o550 if each.is_dir() else 0o440)
            if os.geteuid() == 0:
                os.chown(each, NOBODY, 0)

    def run(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        options = () if command == "verify" else ("--config", str(self.ini))
        server = () if command in {"verify", "tidy"} else ("--redis", self.url)
        words = [*restricted(), sys.executable, "-m", "worker", command, *arguments, *options, *server]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=self.files.parent)


@pytest.fixture
def reader(valkey: RealValkey, tmp_path: Path) -> Iterator[Reader]:
    made = Reader(valkey, tmp_path)
    yield made
    if os.geteuid() != 0:
        for each in (made.files, *made.files.rglob("*")):
            each.chmod(0o750 if each.is_dir() else 0o640)
    made.worker.kill()


def test_reading_commands_need_no_right_to_write(reader: Reader) -> None:
    reader.only_read()
    assert len(reader.run("find", "--domain", "example.com", "--json").stdout.splitlines()) == 6
    assert len(reader.run("tail").stdout.splitlines()) == 6
    for command in (
        ["find", "--rcpt", "delivered0.0@example.com"], ["tail"], ["audit"], ["audit", "--deep"], ["audit", "--json"],
        ["verify", str(reader.files)], ["status"], ["producers"], ["dead", "list"], ["status", "--check", "worker-1"],
        ["replay", "--from", "-", "--export", "-"],
    ):  # fmt: skip
        done = reader.run(*command)
        assert (done.returncode, done.stderr.count("config.warning")) == (0, 0), done


def test_commands_that_write_say_that_they_cannot(reader: Reader) -> None:
    reader.only_read()
    done = reader.run("tidy")
    assert done.returncode == ExitCode.CONFIGURATION
    assert "cannot be written: expected a directory that can be written" in done.stderr
    assert reader.run("rotate", "--name", "nobody").returncode == ExitCode.FAILED


def test_a_location_that_cannot_be_read_is_named_and_the_others_are_shown(reader: Reader) -> None:
    reader.only_read()
    (reader.files / "deferred").chmod(0)
    for command in (["find", "--domain", "example.com"], ["tail"]):
        done = reader.run(*command)
        assert len(done.stdout.splitlines()) == 4, done
        assert f"left out: {reader.files}/deferred: Permission denied" in done.stderr
        assert done.returncode == 0
    nothing = reader.run("find", "--rcpt", "deferred1.0@example.com")
    assert nothing.returncode == ExitCode.UNAVAILABLE
    audit = reader.run("audit")
    assert (audit.returncode, f"{reader.files}/deferred" in audit.stderr) == (ExitCode.UNAVAILABLE, True), audit
    verify = reader.run("verify", str(reader.files))
    assert verify.returncode == ExitCode.FAILED
    assert f"{reader.files}/deferred: cannot be read\n  Permission denied\n" in verify.stdout
    assert verify.stdout.splitlines()[-1] == "2 ok, 2 not sealed, 1 cannot be read"


@pytest.mark.parametrize("what", ["manifest", "content"])
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_looked_at(reader: Reader, what: str) -> None:
    reader.only_read()
    [file] = sealed_files(reader.files, "delivered")
    secret = manifest_path(file) if what == "manifest" else file
    secret.chmod(0)
    verify = reader.run("verify", str(reader.files), "--json")
    found = [json.loads(line) for line in verify.stdout.splitlines()]
    assert verify.returncode == ExitCode.FAILED
    assert [each["path"] for each in found if each["state"] == "cannot be read"] == [str(secret)]
    assert [each["state"] for each in found].count("ok") == 2
    shown = reader.run("find", "--domain", "example.com")
    assert (shown.returncode, len(shown.stdout.splitlines()), str(secret) in shown.stderr) == (0, 5, True), shown
    gone = reader.run("find", "--rcpt", "delivered0.0@example.com")
    assert (gone.returncode, gone.stdout) == (ExitCode.UNAVAILABLE, "")


def test_verify_looks_at_all_that_was_named_whatever_is_not_there(reader: Reader) -> None:
    files = [str(file) for name in TYPES for file in sealed_files(reader.files, name)]
    os.mkfifo(reader.files / "pipe.json")
    missing = str(reader.files / "missing")
    done = reader.run("verify", missing, files[0], str(reader.files / "pipe.json"), *files[1:])
    assert done.returncode == ExitCode.FAILED
    assert f"{missing}: cannot be read\n  No such file or directory\n" in done.stdout
    assert f"{reader.files}/pipe.json: cannot be read\n  no file\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "3 ok, 2 cannot be read"


def test_a_directory_that_cannot_be_entered_is_named(reader: Reader) -> None:
    reader.only_read()
    reader.files.chmod(0)
    for command in (["find", "--domain", "example.com"], ["tail"], ["tail", "-f"], ["audit"], ["rotate", "--all"]):
        done = reader.run(*command)
        assert done.returncode == ExitCode.UNAVAILABLE, done
        assert str(reader.files) in done.stderr
        assert "Permission denied" in done.stderr
        assert "Traceback" not in done.stderr
