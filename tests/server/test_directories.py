"""Directories that are copied, emptied or without their id, and what a person says of them: real processes."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, SHORT_TIMES_INI
from worker.errors import ExitCode

REFUSED = ExitCode.DIRECTORY_REFUSED


class Host:
    """A host with an ini, whose path can be changed."""

    def __init__(self, valkey: RealValkey, base: Path) -> None:
        self.valkey = valkey
        self.base = base
        self.path = base / "files"
        self.client = valkey.client()
        self.publisher = Publisher(self.client, PARTITION)
        self.workers: list[WorkerProcess] = []
        self.rows = 0

    def ini(self, path: Path) -> Path:
        ini = self.base / f"{path.name}.ini"
        ini.write_text(f"path={path}\narchiving=true\n[redis]\n{SHORT_TIMES_INI}")
        return ini

    def worker(self, path: Path | None = None, name: str = "worker-1") -> WorkerProcess:
        made = WorkerProcess(self.ini(path or self.path), self.valkey.url, name)
        self.workers.append(made)
        return made

    def run(self, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        server = ["--redis", self.valkey.url] if arguments[-1] != "new" else []
        command = [sys.executable, "-m", "worker", *arguments, "--config", str(self.ini(path or self.path)), *server]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def write(self, batches: int) -> None:
        """Publish, and wait until the rows are committed."""
        self.publisher.publish_some(batches)
        self.rows += batches
        counters = [f"{name}:rows" for name in ("delivered", "deferred", "bounce")]
        key = f"{{{PARTITION}}}:ledger"
        wait_until(lambda: sum(int(x or 0) for x in self.client.hmget(key, counters)) == self.rows, "the rows")

    def refused(self, path: Path | None = None, name: str = "worker-1") -> str:
        """Start a worker that has to end by itself, and return what it said."""
        worker = self.worker(path, name)
        worker.start(ready=False)
        assert worker.process.wait(90) == REFUSED, worker.log()
        return worker.log()

    @property
    def expected(self) -> Counter[str]:
        events = [event for each in self.publisher.published.values() for event in each]
        return Counter(rcpt["rcpt"] for event in events for rcpt in event["rcpts"])  # type: ignore[attr-defined]


@pytest.fixture
def host(valkey: RealValkey, tmp_path: Path) -> Iterator[Host]:
    made = Host(valkey, tmp_path)
    yield made
    for worker in made.workers:
        worker.kill()


def content(path: Path) -> dict[str, bytes]:
    """Return what stands in a directory, but for what a start notes of itself: locks, a token, the passed time."""
    found = {str(each.relative_to(path)): each for each in path.rglob("*") if each.is_file()}
    noted = {"accounting.id", ".passed-time", ".janitor"}
    return {name: each.read_bytes() for name, each in found.items() if name not in noted and "lock" not in name}


def test_an_emptied_directory_is_refused_and_nothing_is_made_in_its_place(host: Host) -> None:
    worker = host.worker()
    worker.start()
    host.write(9)
    assert worker.stop() == 0
    away = host.path.rename(host.base / "unmounted")
    host.path.mkdir()
    said = host.refused()
    assert "is its volume mounted?" in said
    assert "haraka-accounting directory new" in said
    assert list(host.path.iterdir()) == []
    host.path.rmdir()
    assert str(host.path) in host.refused()
    assert not host.path.exists()
    away.rename(host.path)
    worker.start()
    host.write(3)
    assert worker.stop() == 0
    assert recipients_in(host.path) == host.expected


def test_an_emptied_directory_is_begun_anew_where_a_person_says_so(host: Host) -> None:
    worker = host.worker()
    worker.start()
    host.write(6)
    assert worker.stop() == 0
    before = host.expected
    shutil.rmtree(host.path)
    assert "directory new" in host.refused()
    assert host.run("directory", "new").returncode == 0
    worker.start()
    host.write(6)
    assert worker.stop() == 0
    assert recipients_in(host.path) == host.expected - before
    worker.start()  # and it is a directory like any other
    assert worker.stop() == 0


def test_a_copy_is_used_beside_the_original_once_a_person_says_that_it_is_another(host: Host) -> None:
    worker = host.worker()
    worker.start()
    host.write(9)
    worker.kill()
    copy = host.base / "copy"
    shutil.copytree(host.path, copy)
    worker.start()
    before = content(copy)
    said = host.refused(copy, "worker-2")
    assert "this is a copy" in said
    assert content(copy) == before
    host.write(3)
    done = host.run("directory", "new", path=copy)
    assert done.returncode == 0, done.stderr
    assert "copied/" in done.stdout
    second = host.worker(copy, "worker-2")
    second.start()
    host.write(60)
    assert worker.stop() == second.stop() == 0
    in_copy = Counter(
        {rcpt: rows for rcpt, rows in recipients_in(copy).items() if rcpt not in recipients_in(host.path)}
    )
    assert recipients_in(host.path) + in_copy == host.expected
    assert host.run("audit", "--directory", str(copy)).returncode == 0, host.run(
        "audit", "--directory", str(copy)
    ).stdout


def test_a_superseded_original_is_adopted_where_a_person_says_that_it_goes_on(host: Host) -> None:
    worker = host.worker()
    worker.start()
    host.write(9)
    assert worker.stop() == 0
    copy = host.base / "copy"
    shutil.copytree(host.path, copy)
    by_mistake = host.worker(copy)
    by_mistake.start()
    refusal = host.run("directory", "adopt")
    assert refusal.returncode == REFUSED, refusal.stdout
    assert "stop it first" in refusal.stderr
    assert by_mistake.stop() == 0
    said = host.refused()
    assert "directory adopt" in said
    assert str(copy) in said
    assert host.run("directory", "show").returncode == 1
    assert host.run("directory", "adopt").returncode == 0
    worker.start()
    assert host.run("directory", "show").returncode == 0
    host.write(3)
    assert worker.stop() == 0
    assert recipients_in(host.path) == host.expected
    assert "directory adopt" in host.refused(copy)


@pytest.mark.parametrize("lost", [["accounting.id"], ["accounting.id", ".directory-id", ".partition"]], ids=len)
def test_a_directory_that_lost_its_id_goes_on_once_it_is_adopted(host: Host, lost: list[str]) -> None:
    worker = host.worker()
    worker.start()
    host.write(9)
    worker.kill()
    for name in lost:
        (host.path / name).unlink()
    before = content(host.path)
    said = host.refused()
    assert "haraka-accounting directory adopt" in said
    assert content(host.path) == before
    wait_until(lambda: host.run("directory", "adopt").returncode == 0, "the lease of the killed worker is over")
    worker.start()
    host.write(3)
    assert worker.stop() == 0
    assert recipients_in(host.path) == host.expected


def test_a_worker_at_work_keeps_its_directory(host: Host) -> None:
    worker = host.worker()
    worker.start()
    done = host.run("directory", "new")
    assert done.returncode == ExitCode.LOCKED
    assert "worker-1 at work here" in done.stderr
    shown = host.run("directory", "show", "--json")
    assert shown.returncode == 0
    facts = json.loads(shown.stdout)
    assert facts["at_work_here"] == ["worker-1"]
    assert facts["last_started"]["path"] == str(host.path)
    assert worker.stop() == 0


def test_an_id_that_nothing_tells_has_to_be_said(host: Host) -> None:
    host.path.mkdir()
    done = host.run("directory", "adopt")
    assert done.returncode == REFUSED
    assert "--id ID" in done.stderr
    for wrong in ("a b", "../x", "", "x" * 65):
        assert host.run("directory", "adopt", "--id", wrong).returncode != 0
    assert list(host.path.glob("accounting.id")) == []
