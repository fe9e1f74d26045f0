"""A whole directory lost and replayed, on a real Valkey: thousands of rows, of several workers, with rotations."""

import shutil
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.support.files import check_manifest, data_files, sealed_files
from tests.support.replay import INI, Lab, digests, sorted_rows
from tests.support.servers import RealValkey, WorkerProcess, wait_until

WORKERS = ("worker-1", "worker-2", "worker-3")
ROWS = 6_000


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Lab:
    lab = Lab(valkey, tmp_path)
    lab.configure(INI.replace("0.003", "0.02"))
    return lab


def has_rotated(worker: WorkerProcess) -> bool:
    """Tell whether a worker has sealed a file of each type."""
    sealed = [line for line in worker.log().splitlines() if "file.sealed" in line]
    return all(any(f"/{name}/" in line for line in sealed) for name in TYPES)


def work_together(lab: Lab) -> int:
    """Let three workers at once write thousands of rows, each of them some of each type; returns how many."""
    rows = 0
    workers = [WorkerProcess(lab.ini, lab.valkey.url, name) for name in WORKERS]

    def all_have_written() -> bool:
        nonlocal rows
        if lab.committed() < rows:
            return False
        if rows >= ROWS and all(map(has_rotated, workers)):
            return True
        lab.publisher.publish_some(60, per_batch=5, recipients=2)
        rows += 600
        return False

    try:
        for worker in workers:
            worker.start()
        wait_until(all_have_written, "rows of every worker")
        assert [worker.stop() for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
    return rows


def test_the_lost_files_of_three_workers_come_back_row_for_row_and_twice_as_the_same_files(lab: Lab) -> None:
    rows = work_together(lab)
    files = lab.path / "files"
    before = {name: sorted_rows(files, name) for name in TYPES}
    assert sum(map(len, before.values())) == rows
    for name in TYPES:
        assert {check_manifest(file).writer for file in sealed_files(files, name)} == set(WORKERS)
    shutil.rmtree(files)
    one, two = lab.replay(into="one"), lab.replay(into="two")
    assert {name: sorted_rows(lab.path / "one", name) for name in TYPES} == before
    assert all(len(data_files(lab.path / "one", name)) > 3 for name in TYPES), "no rotation"
    assert (one["rows"], one["missing"], one["holes"]) == (rows, [], [])
    assert digests(lab.path / "one") == digests(lab.path / "two"), "names, content and manifests"
    assert [file["sha256"] for file in one["files"]] == [file["sha256"] for file in two["files"]]
