"""The commit records of a directory as commands see them from outside."""

from pathlib import Path

import pytest

from tests.loop.conftest import Lab
from tests.support.workers import PARTITION, changed, drain
from worker.errors import StreamUnavailable
from worker.identity import known_id
from worker.stream.commit_records import CommitRecords


def id_of(path: Path) -> str:
    directory = known_id(path)
    assert directory is not None
    return directory


def test_records_of_a_directory_tell_how_far_its_open_files_count_and_nothing_of_others(
    lab: Lab, tmp_path: Path
) -> None:
    lab.publisher.publish_some(9, recipients=2)
    worker = lab.worker()
    other = lab.worker(changed(changed(lab.settings, "directory", path=tmp_path / "other"), "worker", name="worker-2"))
    drain(worker, 9)
    with CommitRecords(lab.wire.connect, PARTITION, id_of(lab.settings.directory.path)) as records:
        [record] = records.read()
        assert sum(state.rows for state in record.files.values()) == 18
        lab.stop(worker)
        [record] = records.read()
        assert not record.files
    lab.stop(other)


def test_a_directory_that_nobody_has_used_has_no_id(tmp_path: Path) -> None:
    assert known_id(tmp_path) is None
    assert known_id(tmp_path / "missing") is None


def test_records_are_read_again_once_the_server_is_back(lab: Lab) -> None:
    worker = lab.worker()
    with CommitRecords(lab.wire.connect, PARTITION, id_of(lab.settings.directory.path)) as records:
        assert len(records.read()) == 1
        lab.wire.server.connected = False
        with pytest.raises(StreamUnavailable):
            records.read()
        lab.wire.server.connected = True
        assert len(records.read()) == 1
    lab.stop(worker)


def test_a_record_of_another_version_is_left_out_and_told_by_its_owner(lab: Lab) -> None:
    worker = lab.worker()
    directory = id_of(lab.settings.directory.path)
    lab.client.hset(lab.keys.records, f"worker-9 {directory}", b"later")
    with CommitRecords(lab.wire.connect, PARTITION, directory) as records:
        for _ in range(2):
            assert len(records.read()) == 1
            [told] = records.unreadable
            assert told.startswith(f"{lab.keys.records}: the record of worker-9 {directory} cannot be read")
    lab.stop(worker)
