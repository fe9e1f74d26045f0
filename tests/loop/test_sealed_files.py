"""Sealed files: nothing changes them any more, whatever the server has forgotten or another file is called."""

from typing import Any

import pytest

from tests.loop.conftest import Lab
from tests.loop.test_crashes_and_lost_replies import Killed
from tests.support.files import check_manifest, sealed_files
from tests.support.workers import settings
from worker import archive, records
from worker.records import Record


def rotate_and_die(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Let a worker die while it moves a sealed file to the archive; returns its record from before it had rows."""
    lab.configure("rotation", max_size_bytes=100)
    worker = lab.worker()
    before = worker._current()
    lab.publisher.publish_some(1)

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(archive, "sync_directory", die)  # the file stands in both places
        with pytest.raises(Killed):
            worker.step()
    lab.die(worker)
    return before


@pytest.mark.parametrize("finisher", ["worker-1", "worker-2"])
def test_a_sealed_file_stays_whole_where_the_server_forgot_its_rows(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, finisher: str
) -> None:
    before = rotate_and_die(lab, monkeypatch)
    directory = (lab.path / ".directory-id").read_text().strip()
    lab.client.hset(lab.keys.records, f"worker-1 {directory}", records.encode(before))
    worker = lab.worker(settings(lab.path, name=finisher))
    lab.clock.now += 60
    worker.step()  # looks around
    [file] = sealed_files(lab.path, "delivered")
    assert check_manifest(file).rows == 1
    assert file.parent.name == "archive"


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
