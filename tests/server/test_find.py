"""`find`, `tail` and `verify` as processes, beside a real worker: open, archived and compressed files."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TYPES
from tests.server.test_command_line import run
from tests.support.events import make_event, recipients_of
from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.sealed import compress
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.errors import ExitCode
from worker.manifest import manifest_path

NOBODY = "redis://127.0.0.1:1/0"
INI = "archiving=true\ntimezone=UTC\nmax_size={max_size}\n[redis]\nbatch_entries=5\n"


class Lab:
    """A directory, a server with a publisher, and the command line beside them."""

    def __init__(self, valkey: RealValkey, path: Path) -> None:
        self.path = path
        self.files = path / "files"
        self.url = valkey.url
        self.publisher = Publisher(valkey.client(), PARTITION)
        self.ini = path / "accounting_files.ini"
        self.configure()

    def configure(self, max_size: str = "200") -> None:
        self.ini.write_text(f"path={self.files}\n{INI.format(max_size=max_size)}")

    def worker(self) -> WorkerProcess:
        worker = WorkerProcess(self.ini, self.url)
        worker.start()
        return worker

    def command(self, command: str, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        return run(command, "--config", str(self.ini), "--redis", url or self.url, *arguments, cwd=self.path)

    def rows(self, command: str, *arguments: str, url: str | None = None) -> list[dict[str, Any]]:
        lines = self.command(command, *arguments, "--json", url=url).stdout.splitlines()
        return [json.loads(line)["row"] for line in lines]

    def count(self) -> int:
        """Return how many rows all files hold, as `find` counts them."""
        return len(self.rows("find", "--domain", "example.com"))

    def sealed(self) -> list[Path]:
        return [file for event_type in TYPES for file in sealed_files(self.files, event_type)]

    def published(self) -> Counter[str]:
        return Counter(recipients_of([event for events in self.publisher.published.values() for event in events]))


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Lab:
    return Lab(valkey, tmp_path)


def test_rows_are_found_in_open_archived_and_compressed_files_in_order_of_time(lab: Lab) -> None:
    lab.configure(max_size="0.001")
    worker = lab.worker()
    lab.publisher.publish_some(60, recipients=2)
    wait_until(lambda: lab.count() == 120, "all rows are committed")
    for number, file in enumerate(lab.sealed()[::2]):
        compress(file, (".zst", ".gz")[number % 2])
    lab.configure()
    rows = lab.rows("find", "--domain", "example.com")
    assert Counter(row["rcpt"] for row in rows) == lab.published()
    times = [row["timeLogged"] for row in rows]
    assert times == sorted(times)
    [row] = lab.rows("find", "--rcpt", "BOUNCE2.1@Example.com")
    assert (row["rcpt"], row["jobId"], row["vmta"]) == ("bounce2.1@example.com", "JOB-2.1", None)
    assert len(lab.rows("find", "--where", "jobId=JOB-5.1", "--type", "bounce")) == 2
    assert lab.command("find", "--rcpt", "nobody@example.com").returncode == ExitCode.FAILED
    assert lab.command("find", "--rcpt", "nobody@example.com", url=NOBODY).returncode == ExitCode.UNAVAILABLE
    away = lab.command("find", "--domain", "example.com", url=NOBODY)
    assert "open files are left out" in away.stderr
    worker.stop()
    assert lab.count() == 120
    assert len(lab.rows("find", "--domain", "example.com", url=NOBODY)) == 120


@pytest.mark.parametrize("layout", ["tsv", "csv", "jsonl", "original"])
def test_recipients_are_found_in_any_spelling_in_every_format(lab: Lab, layout: str) -> None:
    lab.ini.write_text(f"path={lab.files}\nformat={layout}\n")
    worker = lab.worker()
    stored = ["Jürgen@münchen.example", "ju\u0308rgen@xn--mnchen-3ya.example", "иван@mail.почта.рф", "a@kiss.example"]
    rcpts = [{"rcpt": each, "dsnStatus": "2.0.0", "dsnMsg": "ok"} for each in stored]
    lab.publisher.publish({"delivered": [make_event("delivered", 1, rcpts=rcpts)]})
    wait_until(lambda: len(lab.rows("find", "--job-id", "JOB-1.1")) == len(stored), "all rows are committed")
    for arguments, count in (
        (("--rcpt", "JÜRGEN@MÜNCHEN.example"), 2),
        (("--rcpt", "<JU\u0308RGEN@XN--MNCHEN-3YA.EXAMPLE>"), 2),
        (("--rcpt", "jurgen@münchen.example"), 0),
        (("--domain", "München.example"), 2),
        (("--domain", ".EXAMPLE"), 3),
        (("--domain", "почта.рф"), 0),
        (("--domain", ".xn--80a1acny.xn--p1ai"), 1),
        (("--rcpt", "ИВАН@mail.ПОЧТА.рф"), 1),
        (("--rcpt", "A@KISS.EXAMPLE"), 1),
        (("--rcpt", "\udcfc@example"), 0),  # bytes that are no UTF-8
    ):
        assert len(lab.rows("find", *arguments)) == count, arguments
    worker.stop()


def test_a_message_is_told_as_a_timeline(lab: Lab) -> None:
    worker = lab.worker()
    rcpts = [{"rcpt": "a@example.com", "dsnStatus": "4.2.1", "dsnMsg": "\x1b[2J busy"}]
    lab.publisher.publish({"deferred": [make_event("deferred", 1, jobId="J.1", rcpts=rcpts)]})
    lab.publisher.publish({"delivered": [make_event("delivered", 90_000, jobId="J.1", rcpts=rcpts)]})
    lab.publisher.publish({"bounce": [make_event("bounce", 90_000, jobId="J.10")]})
    wait_until(lambda: lab.count() == 3, "all rows are committed")
    shown = lab.command("find", "--jobId", "J.1").stdout
    assert "\x1b" not in shown
    heading, _, _, deferred, delivered = shown.splitlines()
    assert heading.startswith("J.1  queued 2026-11-22 ")
    assert deferred.split() == [
        "a@example.com", "2026-11-22", "18:48:29", "+00:00:09", "deferred", "-", "4.2.1", "[2J", "busy"
    ]  # fmt: skip
    assert delivered.split()[2:5] == ["+00:01:39", "delivered", "-"]
    worker.stop()


def test_what_cannot_be_asked_for_is_a_usage_error(lab: Lab) -> None:
    for arguments, message in (
        ([], "expected --rcpt, --job-id, --domain or --where"),
        (["--where", "bounceCta=x"], "did you mean bounceCat?"),
        (["--where", "rcpt"], "expected field=value"),
        (["--rcpt", "a", "--from", "soon"], "expected a time"),
        (["--rcpt", "a", "--type", "bounces"], "did you mean bounce?"),
    ):
        lab.files.mkdir(exist_ok=True)
        done = lab.command("find", *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_tail_shows_the_last_rows_and_leaves_out_open_files_without_the_server(lab: Lab) -> None:
    lab.worker().stop()
    worker = lab.worker()
    lab.publisher.publish_some(9, recipients=2)
    wait_until(lambda: lab.count() == 18, "all rows are committed")
    assert len(lab.rows("tail")) == 10
    assert len(lab.rows("tail", "-n", "99")) == 18
    assert lab.rows("tail", "-n", "99", "--where", "jobId=JOB-8.1")[0]["rcpt"] == "bounce8.0@example.com"
    away = lab.command("tail", url=NOBODY)
    assert (away.stdout, "open files are left out" in away.stderr, away.returncode) == ("", True, ExitCode.UNAVAILABLE)
    assert lab.command("tail", "-f", url=NOBODY).returncode == ExitCode.UNAVAILABLE
    worker.stop()
    assert len(lab.rows("tail", "-n", "5", url=NOBODY)) == 5


def test_follow_shows_each_row_once_while_a_worker_rotates_dies_and_files_are_compressed(lab: Lab) -> None:
    lab.configure(max_size="0.002")
    worker = lab.worker()
    lab.publisher.publish_some(3)
    wait_until(lambda: lab.count() == 3, "the first rows are committed")
    output = lab.path / "followed"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored, here and by children, in the background
    with output.open("wb") as out:
        command = ["tail", "--config", str(lab.ini), "--redis", lab.url, "-f", "-n", "3", "--json"]
        follower = subprocess.Popen([sys.executable, "-m", "worker", *command], stdout=out, stderr=subprocess.PIPE)

    def shown() -> Counter[str]:
        lines = output.read_text().splitlines(keepends=True)
        return Counter(json.loads(line)["row"]["rcpt"] for line in lines if line.endswith("\n"))

    wait_until(lambda: len(shown()) == 3, "the first rows are shown")
    for turn in range(12):
        lab.publisher.publish_some(20, recipients=3)
        for file in lab.sealed()[:3]:
            if turn % 2 and file.parent.name == "archive" and file.suffix not in {".zst", ".gz"}:
                compress(file)
        if turn in {4, 8}:
            worker.kill()
            worker = lab.worker()
    wait_until(lambda: shown() == lab.published(), "each row is shown once")
    worker.stop()
    assert len(lab.sealed()) > 6
    follower.send_signal(signal.SIGINT)
    _, errors = follower.communicate(timeout=30)
    assert (follower.returncode, errors) == (0, b"")
    assert shown() == lab.published()


def test_follow_ends_when_nobody_reads_it(lab: Lab) -> None:
    worker = lab.worker()
    reading, writing = os.pipe()
    command = ["tail", "--config", str(lab.ini), "--redis", lab.url, "-f"]
    follower = subprocess.Popen([sys.executable, "-m", "worker", *command], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    lab.publisher.publish_some(1)
    assert os.read(reading, 9) == b"delivered"
    os.close(reading)
    _, errors = follower.communicate(timeout=60)
    assert errors == b""
    worker.stop()


def test_verify_finds_what_a_worker_sealed_whole_and_names_a_row_that_is_gone(lab: Lab) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(30)
    wait_until(lambda: lab.count() == 30, "all rows are committed")
    open_files = run("verify", str(lab.files), cwd=lab.path)
    assert (open_files.returncode, open_files.stdout.splitlines()[-1]) == (0, "3 not sealed")
    worker.stop()
    assert run("verify", str(lab.files), cwd=lab.path).stdout.splitlines()[-1] == "3 ok"
    file, other, *_ = lab.sealed()
    assert run("verify", str(manifest_path(other)), "--json", cwd=lab.path).returncode == 0
    file.chmod(0o640)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    changed = run("verify", str(lab.files), cwd=lab.path)
    assert changed.returncode == 1
    assert "  rows: 9, the manifest says 10\n" in changed.stdout
    assert changed.stdout.splitlines()[-1] == "2 ok, 1 differs"
    manifest_path(other).unlink()
    assert run("verify", str(other), cwd=lab.path).returncode == 1
