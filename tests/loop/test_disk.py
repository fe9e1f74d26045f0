"""What the disk can do to a worker: nothing is acknowledged that is not durable, and it goes on by itself."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.loop.test_crashes_and_lost_replies import fail_once, tails, work_on
from tests.support.files import check_manifest, data_files, recipients_in, rows_of, sealed_files
from tests.support.workers import drain
from worker.errors import DiskTrouble, StreamUnavailable
from worker.janitor import Janitor
from worker.loop import RECOVERABLE, Worker


def failing(number: int, times: int, when: Callable[[Any], object], name: str, patch: pytest.MonkeyPatch) -> list[int]:
    """Let an os function fail some times with an errno; returns what is left of them."""
    real = getattr(os, name)
    left = list(range(times))

    def call(first: Any, *rest: Any, **named: Any) -> Any:
        if left and when(rest[0] if rest else first):
            left.pop()
            raise OSError(number, os.strerror(number), *[str(first)] * isinstance(first, str | Path))
        return real(first, *rest, **named)

    patch.setattr(os, name, call)
    return left


def is_rows(data: Any) -> bool:
    return isinstance(data, bytes) and b"@example.com" in data


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "worker.recovering" in record.getMessage()]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_write_that_fails_acknowledges_nothing_and_is_told_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    lab.publisher.publish_some(9)
    worker = lab.worker()
    left = failing(number, 6, is_rows, "write", monkeypatch)
    with pytest.raises(DiskTrouble) as trouble:
        worker.step()
    assert lab.ledger("rows") == 0
    assert lab.pending() == 9
    assert worker.recover(trouble.value)
    work_on(lab, worker, 9)
    assert left == []
    assert warnings(caplog)
    assert all(os.strerror(number) in line for line in warnings(caplog))


def fsync_of_rows(worker: Worker) -> Callable[[Any], bool]:
    """Return what tells an fsync of an open file that holds more than is committed."""
    return lambda descriptor: any(
        file.descriptor == descriptor and file.size() > file.state.length for file in worker._files.open.values()
    )


@pytest.mark.parametrize("fails", ["fsync", "write", "fsync of the cut"])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_file_whose_fsync_failed_is_cut_sealed_and_never_written_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fails: str, *, goes_on: bool
) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    [old] = data_files(lab.path, "delivered")
    committed = old.read_bytes()
    lab.publisher.publish_some(1)
    if fails == "write":
        left = failing(errno.EIO, 1, is_rows, "write", monkeypatch)
    elif fails == "fsync":
        left = failing(errno.EIO, 1, fsync_of_rows(worker), "fsync", monkeypatch)
    else:  # what was appended is cut because the commit was lost
        fail_once(monkeypatch, worker._stream, "send_commit", StreamUnavailable("reset"))
        lengths = {file.descriptor: file.state.length for file in worker._files.open.values()}
        left = failing(
            errno.EIO, 1, lambda each: os.fstat(each).st_size == lengths.get(each) and tails(lab), "fsync", monkeypatch
        )  # fmt: skip
    with pytest.raises(RECOVERABLE) as trouble:
        worker.step()
    assert lab.ledger("rows") == 3
    if goes_on:
        assert worker.recover(trouble.value)
        work_on(lab, worker, 4)
    else:
        worker.stop()
        assert worker.recover(trouble.value)
        lab.stop(worker)
    assert left == []
    sealed = sealed_files(lab.path, "delivered")[0]
    assert sealed.read_bytes() == committed
    assert check_manifest(sealed).reason == ("disk" if goes_on else "stop")
    assert [len(sealed_files(lab.path, name)) for name in TYPES] == ([1, 0, 0] if goes_on else [1, 1, 1])


@pytest.mark.parametrize("fails", ["a seal", "a rescue"])
def test_a_trouble_of_a_recovery_is_told_once_by_the_name_that_is_written(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    [file] = data_files(lab.path, "delivered")
    if fails == "a rescue":
        file.unlink()
    left = failing(errno.ENOSPC, 8, lambda flags: flags & os.O_EXCL, "open", monkeypatch)
    worker.stop()
    worker.run()
    lab._workers.remove(worker)
    assert left == []
    told = [line for line in warnings(caplog) if "No space left" in line]
    assert len(told) == 2  # what failed, and what was tried since
    assert not any(".tmp" in line for line in told)


def test_a_full_disk_ends_no_file(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.publisher.publish_some(9)
    left = failing(errno.ENOSPC, 2, is_rows, "write", monkeypatch)
    work_on(lab, worker, 12)
    assert left == []
    assert [sealed_files(lab.path, name) for name in TYPES] == [[], [], []]


def test_a_file_that_somebody_replaced_is_kept_aside_and_a_new_one_is_made(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    [file] = data_files(lab.path, "delivered")
    file.rename(lab.path / "moved-away")
    file.write_text("an editor's\n")
    lab.publisher.publish_some(9)
    while worker.totals.events < 12:
        try:
            worker.step()
        except RECOVERABLE as error:
            assert worker.recover(error)
    assert file.read_text() == "an editor's\n"
    kept = lab.path / "recovered" / file.name
    assert len(rows_of(kept)) == 1
    file.unlink()
    found = recipients_in(lab.path)
    assert sum(found.values()) == 11  # the twelfth stands in what was moved away, and in recovered/
    assert set(found.values()) == {1}


def test_a_location_that_was_removed_is_made_again(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    shutil.rmtree(lab.path / "bounce")
    lab.publisher.publish_some(9)
    _finish(worker, 12)
    assert len(data_files(lab.path, "bounce")) == 1
    assert len(rows_of(data_files(lab.path, "bounce")[0])) == 3


def test_a_directory_that_is_not_the_one_it_was_stops_reading_until_it_is_back(lab: Lab) -> None:
    worker = lab.worker()
    lab.path.rename(lab.path.with_name("unmounted"))
    lab.path.mkdir()
    lab.publisher.publish_some(9)
    lab.clock.now += 5
    with pytest.raises(DiskTrouble, match="is its volume mounted"):
        worker.step()

    def mount(seconds: float) -> None:
        lab.clock.now += seconds
        if lab.clock.now > 1_060 and lab.path.with_name("unmounted").exists():
            lab.path.rmdir()
            lab.path.with_name("unmounted").rename(lab.path)

    worker._patience.pauses = worker._patience.pauses._replace(sleep=mount)
    assert worker.recover(DiskTrouble("unmounted"))
    work_on(lab, worker, 9)


@pytest.mark.parametrize(
    ("name", "when"), [("link", lambda path: str(path).endswith(".tsv")), ("open", lambda flags: flags & os.O_CREAT)]
)
def test_a_new_file_that_cannot_be_made_keeps_the_old_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[[Any], bool]
) -> None:
    lab.configure("rotation", max_size_bytes=300)
    lab.publisher.publish_some(30)
    worker = lab.worker()
    left = failing(errno.EACCES, 2, when, name, monkeypatch)
    _finish(worker, 30)
    assert left == []
    assert set(recipients_in(lab.path).values()) == {1}
    assert sum(recipients_in(lab.path).values()) == 30


def is_accounting_file(path: Any) -> bool:
    return str(path).endswith(".tsv")


def test_a_start_goes_on_when_a_file_without_rows_could_not_be_unlinked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab.die(lab.worker())
    left = failing(errno.EIO, 2, is_accounting_file, "unlink", monkeypatch)
    worker = lab.worker()
    assert left == []
    assert [len(data_files(lab.path, name)) for name in TYPES] == [1, 1, 1]
    assert "not unlinked: Input/output error" in caplog.text
    lab.publisher.publish_some(9)
    work_on(lab, worker, 9)


def test_a_stop_ends_well_when_a_file_without_rows_could_not_be_unlinked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = lab.worker()
    left = failing(errno.EIO, 2, is_accounting_file, "unlink", monkeypatch)
    lab.stop(worker)
    assert left == []
    assert [data_files(lab.path, name) for name in TYPES] == [[], [], []]
    assert "worker.stopped_early" not in caplog.text
    assert not lab.client.exists(lab.keys.lease("worker-1"))


def test_a_file_without_rows_whose_unlinking_fails_at_its_end_is_not_taken_for_a_swap(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = lab.worker()
    [file] = data_files(lab.path, "delivered")
    left = failing(errno.EIO, 1, lambda _: not file.exists(), "fsync", monkeypatch)
    lab.stop(worker)
    assert left == []
    assert "file.swapped" not in caplog.text


def _finish(worker: Worker, events: int) -> None:
    for _ in range(1_000):
        if worker.totals.events >= events:
            return
        try:
            worker.step()
        except RECOVERABLE as error:
            assert worker.recover(error)
    raise AssertionError("not finished")


@pytest.mark.parametrize("mover", ["worker", "janitor"])
def test_every_directory_that_a_start_or_an_archiving_makes_is_durable_before_anything_stands_in_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, mover: str
) -> None:
    path = lab.path / "a" / "b"
    location = {name: f"mail/{name}" for name in TYPES}
    lab.configure("directory", path=path, location=location, archive_to=dict.fromkeys(TYPES, "archive/2026"))
    lab.configure("rotation", archiving=mover == "worker")
    unsynced: set[Path] = set()
    mkdir, fsync, link = os.mkdir, os.fsync, os.link

    def make(made: Any, *rest: Any) -> None:
        mkdir(made, *rest)
        unsynced.add(Path(made))

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        synced = Path(f"/proc/self/fd/{descriptor}").readlink()
        unsynced.difference_update({each for each in unsynced if each.parent == synced})

    def give_name(source: Any, target: Any) -> None:
        assert not unsynced, f"{target} is made, and a power loss may take {unsynced}"
        link(source, target)

    for name, call in (("mkdir", make), ("fsync", sync), ("link", give_name)):
        monkeypatch.setattr(os, name, call)
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    for name in TYPES:
        shutil.rmtree(path / "mail" / name / "archive", ignore_errors=True)
    lab.stop(worker)
    Janitor(lab.settings.directory, lab.settings.janitor, archiving=True).run()
    assert not unsynced
    assert [file.parent.name for name in TYPES for file in sealed_files(path / "mail", name)] == ["2026"] * 3


def test_an_archive_on_another_file_system_leaves_the_sealed_files_where_they_are(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab.publisher.publish_some(9)
    failing(errno.EXDEV, 1000, lambda path: "/archive/" in str(path), "link", monkeypatch)
    worker = lab.worker()
    work_on(lab, worker, 9)
    lab.stop(worker)
    assert not warnings(caplog)
    for name in TYPES:
        [file] = sealed_files(lab.path, name)
        assert file.parent == lab.path / name
        assert (check_manifest(file).sealed_ms or 0) > 0
