"""One directory, one partition: what belongs to another partition is refused, and nobody touches its files."""

import os
import shutil
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.server.test_command_line import run
from tests.support.files import check_manifest, data_files, recipients_in, sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import HandClock, changed, drain, make_worker, settings
from worker import durable, identity
from worker.errors import ExitCode, OtherPartition
from worker.loop import Worker
from worker.settings import Settings

ZERO, ONE = "haraka:accounting:0", "haraka:accounting:1"


def of(partition: str, path: Path, name: str = "worker-1") -> Settings:
    return changed(settings(path, name=name), "stream", partition=partition)


def started(configured: Settings, valkey: RealValkey) -> Worker:
    worker = make_worker(configured, None, HandClock(), url=valkey.url)
    assert worker.recover()
    return worker


def die_with_rows(configured: Settings, valkey: RealValkey) -> None:
    """Let a worker die with committed rows in its open files."""
    Publisher(valkey.client(), configured.stream.partition).publish_some(9)
    worker = started(configured, valkey)
    drain(worker, 9)
    worker.release()


def files_of(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def write_ini(tmp_path: Path, partition: str) -> Path:
    ini = tmp_path / "accounting_files.ini"
    ini.write_text(f"path={tmp_path}/files\n[redis]\npartition={partition}\n[worker]\nname=worker-1\n")
    return ini


def test_a_worker_of_another_partition_is_refused_and_the_rows_of_a_dead_one_stay_for_its_own(
    valkey: RealValkey, tmp_path: Path
) -> None:
    path = tmp_path / "files"
    die_with_rows(of(ONE, path), valkey)
    before = files_of(path)
    with pytest.raises(OtherPartition, match=f"holds the files of partition {ONE}, and not of {ZERO}"):
        make_worker(of(ZERO, path, "worker-2"), None, HandClock(), url=valkey.url)
    assert files_of(path) == before
    started(of(ONE, path, "worker-2"), valkey).release()
    worker = started(of(ONE, path), valkey)
    assert sum(check_manifest(file).rows for name in TYPES for file in sealed_files(path, name)) == 9
    assert set(recipients_in(path).values()) == {1}
    assert not (path / "recovered").exists()
    worker.release()


def test_a_start_in_the_directory_of_another_partition_ends_with_the_code_of_the_configuration_and_names_both(
    valkey: RealValkey, tmp_path: Path
) -> None:
    die_with_rows(of(ONE, tmp_path / "files"), valkey)
    result = run("work", "--config", str(write_ini(tmp_path, ZERO)), "--redis", valkey.url, cwd=tmp_path)
    assert result.returncode == ExitCode.CONFIGURATION
    assert all(each in result.stderr for each in (ZERO, ONE, f"{tmp_path}/files"))


def test_a_directory_of_before_belongs_to_the_first_partition_that_comes(valkey: RealValkey, tmp_path: Path) -> None:
    die_with_rows(of(ONE, tmp_path), valkey)
    (tmp_path / "accounting.id").unlink()  # made by a version that knew none, nor partitions
    (tmp_path / ".partition").unlink()
    valkey.client().delete("{haraka:accounting:1}:directories")
    started(of(ONE, tmp_path), valkey).release()
    with pytest.raises(OtherPartition):
        make_worker(of(ZERO, tmp_path), None, HandClock(), url=valkey.url)


def test_of_two_partitions_that_come_at_once_one_gets_the_directory(
    valkey: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = identity.make

    def be_late(path: Path, partition: str) -> identity.Identity:
        monkeypatch.setattr(identity, "make", make)
        started(of(ONE, tmp_path, "quicker"), valkey).release()
        return make(path, partition)

    monkeypatch.setattr(identity, "make", be_late)
    with pytest.raises(OtherPartition):
        make_worker(of(ZERO, tmp_path), None, HandClock(), url=valkey.url)
    found = identity.read(tmp_path)
    assert found is not None
    assert found.partition == ONE
    assert (tmp_path / ".partition").read_text() == f"{ONE}\n"


def test_the_partition_of_a_directory_is_durable_before_a_file_is_made(
    valkey: RealValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, replace, sync = os.link, os.replace, durable.sync_directory
    done: list[str] = []

    def remember(source: Path, target: Path) -> None:
        done.append(target.name)
        link(source, target)

    def remember_replace(source: Path, target: Path) -> None:
        done.append(Path(target).name)
        replace(source, target)

    def remember_sync(path: Path) -> None:
        done.append("sync")
        sync(path)

    monkeypatch.setattr(os, "link", remember)
    monkeypatch.setattr(os, "replace", remember_replace)
    monkeypatch.setattr(durable, "sync_directory", remember_sync)
    started(of(ONE, tmp_path), valkey).release()
    assert done.index("accounting.id") + 1 == done.index("sync")
    assert done.index("sync") < min(done.index(name) for name in done if name.startswith("d."))


@pytest.mark.parametrize(
    "command", [("find", "--rcpt", "someone@example.com"), ("tail",), ("rotate", "--all"), ("tidy",)]
)
def test_a_command_that_finds_the_directory_of_another_partition_does_nothing_in_it(
    valkey: RealValkey, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "files"
    die_with_rows(of(ONE, path), valkey)
    before = files_of(path)
    result = run(*command, "--config", str(write_ini(tmp_path, ZERO)), cwd=tmp_path, ACCOUNTING_REDIS_URL=valkey.url)
    assert result.returncode == ExitCode.CONFIGURATION
    assert all(each in result.stderr for each in (ZERO, ONE))
    assert (result.stdout, files_of(path)) == ("", before)


def test_an_audit_counts_no_file_of_another_partition(valkey: RealValkey, tmp_path: Path) -> None:
    for partition, name in ((ZERO, "files"), (ONE, "other")):
        die_with_rows(of(partition, tmp_path / name), valkey)
        worker = started(of(partition, tmp_path / name), valkey)
        worker.stop()
        worker.run()
    ini = write_ini(tmp_path, ZERO)
    told = run("audit", "--config", str(ini), "--redis", valkey.url, cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    named = run("audit", "--config", str(ini), "--redis", valkey.url, "--directory", "other", cwd=tmp_path)
    assert named.returncode == 2
    assert all(each in named.stderr for each in (ZERO, ONE))
    shutil.rmtree(tmp_path / "files")
    (tmp_path / "other").rename(tmp_path / "files")
    told = run("audit", "--config", str(ini), "--redis", valkey.url, cwd=tmp_path)
    assert "its files are not looked at" in told.stderr
    assert "not here: the rows of directory" in told.stdout
    assert len([file for name in TYPES for file in data_files(tmp_path / "files", name)]) == 3
