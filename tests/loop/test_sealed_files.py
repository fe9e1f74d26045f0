"""Names and sealed files: no name comes twice, and nothing changes what is sealed, whatever the server forgot."""

import errno
import logging
import os
import shutil
import stat
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.loop.test_crashes_and_lost_replies import Killed, fail_once
from tests.loop.test_disk import failing
from tests.support.files import check_manifest, data_files, sealed_files
from tests.support.workers import changed, drain, settings
from worker import archive, records
from worker.errors import DiskTrouble
from worker.identity import known_id
from worker.loop import RECOVERABLE
from worker.manifest import manifest_path
from worker.records import Record
from worker.stream.script import Script


def rotate_and_die(lab: Lab, monkeypatch: pytest.MonkeyPatch, at: str = "sync_directory") -> Record:
    """Let a worker die while it seals a file and moves it to the archive; returns its record from before it had rows.

    Either it stands in both places by then, or it has no more than its manifest.
    """
    worker = lab.worker()
    worker.rotate()
    before = worker._current()
    lab.publisher.publish_some(1)

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(archive, at, die)
        with pytest.raises(Killed):
            worker.step()
    lab.die(worker)
    return before


@pytest.mark.parametrize("archiving", [True, False])
@pytest.mark.parametrize("at", ["sync_directory", "protect"])
@pytest.mark.parametrize("forgotten", ["rows", "record", "rows, and so did the disk"])
@pytest.mark.parametrize("finisher", ["worker-1", "worker-2"])
def test_a_sealed_file_stays_whole_where_the_server_forgot_its_rows(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, finisher: str, forgotten: str, at: str, archiving: bool
) -> None:
    before = rotate_and_die(lab, monkeypatch, at)
    if "disk" in forgotten:
        shutil.rmtree(lab.path / "journal")
    field = f"worker-1 {known_id(lab.path)}"
    if "rows" in forgotten:
        lab.client.hset(lab.keys.records, field, records.encode(before))
    else:
        lab.client.hdel(lab.keys.records, field)
    worker = lab.worker(settings(lab.path, name=finisher, archiving=archiving))
    lab.clock.now += 60
    worker.step()  # looks around
    found = sealed_files(lab.path, "delivered")
    assert {check_manifest(file).rows for file in found} == {1}
    assert not archiving or [file.parent.name for file in found] == ["archive"]


@pytest.mark.parametrize("link", [".", "../delivered", "archive itself"])
def test_an_archive_that_is_the_location_itself_has_each_file_once(lab: Lab, link: str) -> None:
    archive_directory = lab.path / "delivered" / "archive"
    if link == "archive itself":
        archive_directory = lab.path / "delivered" / "x" / "y"
        lab.configure("directory", archive_to=dict.fromkeys(TYPES, "x/y"))
    archive_directory.parent.mkdir(parents=True)
    archive_directory.symlink_to(lab.path / "delivered" if link == "archive itself" else link)
    worker = lab.worker()
    for _ in range(2):
        lab.publisher.publish_some(3)
        worker.step()
        worker.rotate()
        worker.step()
    lab.stop(worker)
    lab.stop(lab.worker())
    found = [path for path in (lab.path / "delivered").iterdir() if manifest_path(path).exists()]
    assert sorted(check_manifest(file).rows for file in found) == [1, 1]
    assert not (lab.path / "recovered").exists()


@pytest.mark.parametrize("what", ["file", "manifest"])
def test_a_link_in_the_archive_is_not_taken_for_the_file(lab: Lab, what: str) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(1)
    worker.step()
    name = worker._current().files["delivered"].name + (".json" if what == "manifest" else "")
    in_archive = lab.path / "delivered" / "archive" / name
    in_archive.parent.mkdir(exist_ok=True)
    in_archive.symlink_to(lab.path / "delivered" / name)
    lab.stop(worker)
    path = lab.path / "delivered" / name.removesuffix(".json")
    assert check_manifest(path).rows == 1
    assert not path.is_symlink()


def test_a_move_to_the_archive_that_was_interrupted_is_finished_by_another_worker(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate_and_die(lab, monkeypatch)
    assert len(sealed_files(lab.path, "delivered")) == 2  # one file under two names
    other = lab.worker(settings(lab.path, name="worker-2"))
    lab.clock.now += 60
    other.step()
    [file] = sealed_files(lab.path, "delivered")
    assert file.parent.name == "archive"
    check_manifest(file)
    assert b".tsv" not in lab.client.hget(lab.keys.records, f"worker-1 {other._directory.id}")


@pytest.mark.parametrize("has_manifest", [True, False])
@pytest.mark.parametrize("finisher", ["worker-1", "worker-2"])
def test_a_move_that_was_interrupted_before_the_directory_was_copied_is_finished(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, finisher: str, has_manifest: bool
) -> None:
    rotate_and_die(lab, monkeypatch)
    shutil.copytree(lab.path, lab.path.with_name("copy"))  # two names become two files
    shutil.rmtree(lab.path)
    lab.path.with_name("copy").rename(lab.path)
    if not has_manifest:
        [archived] = [each for each in sealed_files(lab.path, "delivered") if each.parent.name == "archive"]
        manifest_path(archived).unlink()
    assert len(data_files(lab.path, "delivered")) >= 2
    lab.client.delete(lab.keys.lease("worker-1"))  # it runs out
    worker = lab.worker(settings(lab.path, name=finisher))
    lab.clock.now += 60
    worker.step()
    [file] = sealed_files(lab.path, "delivered")
    assert file.parent.name == "archive"
    assert check_manifest(file).rows == 1
    assert not file.parent.with_name(file.name).exists()


@pytest.mark.parametrize("fault", ["server", "disk"])
def test_an_orphan_that_could_not_be_sealed_at_first_is_sealed_with_the_next_look(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.die(worker)
    other = lab.worker(settings(lab.path, name="worker-2"))
    lab.clock.now += 60
    if fault == "server":
        lab.wire.lose_reply_of = Script("seize").sha
    else:
        fail_once(monkeypatch, archive, "write_durably", OSError(errno.EIO, "Input/output error"))
    with pytest.raises(RECOVERABLE) as trouble:
        other.step()
    assert other.recover(trouble.value)
    lab.clock.now += 60
    other.step()
    assert [check_manifest(file).reason for name in TYPES for file in sealed_files(lab.path, name)] == ["orphan"] * 3


def test_trap_16_the_name_of_an_unlinked_file_is_never_given_out_again(lab: Lab) -> None:
    location = lab.worker()._directory.locations["bounce"]
    now = datetime(2026, 10, 25, 2, 30, tzinfo=UTC)
    names = []
    for _ in range(3):  # within one second, and the hour that comes twice: the clock gives no other name
        file = location.create("worker-1", b"type\n", "", now)
        names.append(file.path.name)
        archive.discard(file)
    assert len(set(names)) == 3
    assert names == sorted(names)


def test_trap_16_a_file_of_the_same_name_in_the_archive_is_never_replaced(lab: Lab) -> None:
    lab.publisher.publish_some(1)
    worker = lab.worker()
    drain(worker, 1)
    name = worker._files.open["delivered"].path.name
    foreign = lab.path / "delivered" / "archive" / name
    foreign.write_text("of another year")
    lab.stop(worker)
    assert foreign.read_text() == "of another year"
    [mine] = sealed_files(lab.path, "delivered")
    assert mine == lab.path / "delivered" / name
    check_manifest(mine)


@pytest.mark.parametrize("archived_by", ["a rotation", "a stop"])
@pytest.mark.parametrize("part", ["file", "manifest", "directory"])
def test_a_move_whose_end_fails_is_finished_and_not_taken_for_a_swap(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str, archived_by: str
) -> None:
    caplog.set_level(logging.INFO)
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    file = worker._files.open["delivered"].path

    def is_end_of_its_move(first: Any) -> bool:
        if part == "directory":
            is_here = stat.S_ISDIR(os.fstat(first).st_mode) and os.path.samestat(os.fstat(first), file.parent.stat())
            return is_here and (file.parent / "archive" / file.name).exists() and not file.exists()
        return bool(first == (file if part == "file" else manifest_path(file)))

    left = failing(errno.EIO, 1, is_end_of_its_move, "fsync" if part == "directory" else "unlink", monkeypatch)
    if archived_by == "a stop":
        lab.stop(worker)
    else:
        worker.rotate()
        with pytest.raises(DiskTrouble) as trouble:
            worker.step()
        assert worker.recover(trouble.value)
        worker.step()
        assert not worker._files.holds(file.name)
    assert left == []
    assert "file.swapped" not in caplog.text
    assert not (lab.path / "recovered").exists()
    assert not manifest_path(file).exists()
    assert not file.exists()
    assert check_manifest(file.parent / "archive" / file.name).rows == 1
    assert f"file.sealed file={file.parent / 'archive' / file.name}" in caplog.text


def test_a_move_of_a_forgotten_file_whose_end_fails_is_finished_and_not_taken_for_a_swap(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = rotate_and_die(lab, monkeypatch)
    directory = (lab.path / ".directory-id").read_text().strip()
    lab.client.hset(lab.keys.records, f"worker-1 {directory}", records.encode(before))
    here = manifest_path(lab.path / "delivered" / before.files["delivered"].name)
    left = failing(errno.EIO, 1, lambda path: path == here, "unlink", monkeypatch)
    lab.worker()
    assert left == []
    assert "file.swapped" not in caplog.text
    [file] = sealed_files(lab.path, "delivered")
    assert check_manifest(file).rows == 1
    assert not here.exists()


def test_the_name_of_a_manifest_is_made_durable_where_that_failed_at_first(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.configure("rotation", archiving=False)
    lab.publisher.publish_some(1)
    worker = lab.worker()
    drain(worker, 1)
    file = worker._files.open["delivered"].path

    def is_its_directory(descriptor: int) -> bool:
        return os.path.samestat(os.fstat(descriptor), file.parent.stat()) and manifest_path(file).exists()

    left = failing(errno.EIO, 2, is_its_directory, "fsync", monkeypatch)
    lab.stop(worker)
    assert left == []
    check_manifest(file)


def test_a_file_that_was_just_sealed_is_not_seized_while_the_record_names_it(lab: Lab) -> None:
    lab.configure("rotation", archiving=False)
    worker = lab.worker()
    other = lab.worker(changed(lab.settings, "worker", name="worker-2"))
    owner = lab.client.hget(lab.keys.owners, "worker-1")
    lab.publisher.publish_some(3)
    worker.rotate()
    worker.step()
    assert len(sealed_files(lab.path, "delivered")) == 1
    lab.clock.now += 60
    for looking in (other, worker):
        looking.step()
        assert lab.client.hget(lab.keys.owners, "worker-1") == owner
