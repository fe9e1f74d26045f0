"""An open file that somebody renames or replaces: its committed rows are kept, and what stands in its place stays."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.loop.test_disk import failing, is_rows
from tests.loop.test_stopping import COMMIT, IDLE, run_until
from tests.support.files import data_files, rows_of
from tests.support.workers import drain, settings
from worker.errors import DiskTrouble
from worker.loop import RECOVERABLE, Worker
from worker.manifest import manifest_path

FOREIGN = "an editor's\n"


def replace(file: Path) -> None:
    """Do what logrotate does, and many an editor: rename a file, and make another one under its name."""
    file.rename(file.with_name("moved-away"))
    file.write_text(FOREIGN)


def go_on(worker: Worker, steps: int = 3) -> None:
    """Step and recover as `run` does."""
    for _ in range(steps):
        try:
            worker.step()
        except RECOVERABLE as error:
            assert worker.recover(error)


def by_interval(lab: Lab, worker: Worker, do: Callable[[], None]) -> None:
    do()
    lab.clock.now += 86_400
    worker._schedule._due.set()  # the timer fires
    go_on(worker)


def on_demand(lab: Lab, worker: Worker, do: Callable[[], None]) -> None:
    do()
    worker.rotate()
    go_on(worker)


def at_a_stop(lab: Lab, worker: Worker, do: Callable[[], None]) -> None:
    run_until(lab, worker, IDLE, do)


End = Callable[[Lab, Worker, Callable[[], None]], None]
ENDS = pytest.mark.parametrize("end", [by_interval, on_demand, at_a_stop])


def one_with_rows(lab: Lab) -> tuple[Worker, Path]:
    """Return a worker whose file of deliveries has rows."""
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    [file] = data_files(lab.path, "delivered")
    return worker, file


def check_kept(lab: Lab, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Check that the rows are in `recovered/`, and that what stands in their place is left alone and was told once."""
    assert rows_of(lab.path / "recovered" / file.name) == rows_of(file.with_name("moved-away"))
    taken_away = lab.path / "recovered" / f"{file.name}.tail"  # by a look around
    assert (file if file.exists() else taken_away).read_text() == FOREIGN
    assert not manifest_path(file).exists()
    assert not os.path.lexists(file.parent / "archive" / file.name)
    assert not os.path.lexists(manifest_path(file.parent / "archive" / file.name))
    assert caplog.text.count("file.swapped") == 1


@ENDS
def test_a_quiet_file_that_was_replaced_is_kept_aside_when_it_ends_and_the_other_one_stays(
    lab: Lab, caplog: pytest.LogCaptureFixture, end: End
) -> None:
    worker, file = one_with_rows(lab)
    end(lab, worker, lambda: replace(file))
    check_kept(lab, file, caplog)


def test_no_record_names_a_file_as_rotated_that_was_replaced(lab: Lab) -> None:
    worker, file = one_with_rows(lab)
    replace(file)
    before = worker._current()
    worker.rotate()
    with pytest.raises(DiskTrouble, match="replaced while it was open"):
        worker.step()
    assert worker._current() == before


def at(patch: pytest.MonkeyPatch, name: str, where: str, file: Path) -> None:
    """Let the file be replaced at the first call of an os function whose last path holds some text."""
    real = getattr(os, name)

    def call(*args: Any, **named: Any) -> Any:
        if where in str(args[-1]):
            patch.setattr(os, name, real)
            replace(file)
        return real(*args, **named)

    patch.setattr(os, name, call)


def at_the_commit(lab: Lab, patch: pytest.MonkeyPatch, file: Path) -> None:
    lab.wire.before[COMMIT].append(lambda: replace(file))


def after_the_manifest(lab: Lab, patch: pytest.MonkeyPatch, file: Path) -> None:
    at(patch, "replace", manifest_path(file).name, file)


def at_the_link(lab: Lab, patch: pytest.MonkeyPatch, file: Path) -> None:
    at(patch, "link", f"archive/{file.name}", file)


@ENDS
@pytest.mark.parametrize("when", [at_the_commit, after_the_manifest, at_the_link])
def test_a_file_that_is_replaced_while_it_is_sealed_is_kept_aside_and_the_other_one_stays(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    when: Callable[[Lab, pytest.MonkeyPatch, Path], None],
    end: End,
) -> None:
    worker, file = one_with_rows(lab)
    end(lab, worker, lambda: when(lab, monkeypatch, file))
    check_kept(lab, file, caplog)
    assert ("replaced while it was open" in caplog.text) == (when is at_the_commit)  # no manifest was made


def test_a_file_that_is_replaced_while_it_is_sealed_in_place_is_kept_aside(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab.configure("rotation", archiving=False)
    worker, file = one_with_rows(lab)
    at_a_stop(lab, worker, lambda: after_the_manifest(lab, monkeypatch, file))
    check_kept(lab, file, caplog)


def test_a_file_that_replaces_one_at_the_end_of_its_move_stays(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, file = one_with_rows(lab)
    rows = rows_of(file)
    at(monkeypatch, "link", f"archive/{manifest_path(file).name}", file)
    lab.stop(worker)
    assert file.read_text() == FOREIGN
    assert rows_of(file.parent / "archive" / file.name) == rows
    assert not manifest_path(file).exists()


@pytest.mark.parametrize("when", [IDLE, COMMIT])
def test_a_file_in_the_place_of_one_without_rows_is_not_unlinked(lab: Lab, when: str) -> None:
    worker = lab.worker()
    files = [data_files(lab.path, name)[0] for name in TYPES]

    def replace_all() -> None:
        for file in files:
            replace(file)

    if when == IDLE:
        run_until(lab, worker, IDLE, replace_all)
    else:
        run_until(lab, worker, IDLE, lambda: lab.wire.before[COMMIT].append(replace_all))
    assert [file.read_text() for file in files] == [FOREIGN] * 3


def test_what_stands_under_the_name_of_a_replaced_file_is_kept_when_a_scan_takes_it_away(lab: Lab) -> None:
    worker, file = one_with_rows(lab)
    on_demand(lab, worker, lambda: replace(file))
    lab.clock.now += 60
    lab.worker(settings(lab.path, name="worker-2")).step()  # looks around
    assert not file.exists()
    assert (lab.path / "recovered" / f"{file.name}.tail").read_text() == FOREIGN


def test_the_rows_of_a_removed_file_are_kept_once_there_is_room_for_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker, file = one_with_rows(lab)
    rows = rows_of(file)
    file.unlink()
    left = failing(errno.ENOSPC, 3, is_rows, "write", monkeypatch)
    on_demand(lab, worker, lambda: None)
    assert left == []
    assert rows_of(lab.path / "recovered" / file.name) == rows
    assert caplog.text.count("file.swapped") == 1
    assert not worker._files.holds(file.name)
