"""A rotation that is interrupted: it is done once, and neither again at once nor put off."""

import errno
from typing import Any

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.loop.test_crashes_and_lost_replies import COMMIT
from tests.loop.test_disk import failing
from tests.loop.test_rows_reach_files import expected
from tests.support.files import check_manifest, recipients_in, sealed_files
from tests.support.workers import drain
from worker.errors import DiskTrouble
from worker.loop import RECOVERABLE, Worker

A_DAY = 86_400


def lose_the_reply(lab: Lab, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    create = worker._files.create

    def create_and_lose(event_type: str) -> Any:
        lab.wire.lose_reply_of = COMMIT.sha
        monkeypatch.setattr(worker._files, "create", create)
        return create(event_type)

    monkeypatch.setattr(worker._files, "create", create_and_lose)


def fill_the_disk(_lab: Lab, _worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(errno.ENOSPC, 1, lambda mode: mode == 0o440, "fchmod", monkeypatch)


def sealed_rows(lab: Lab) -> list[list[int]]:
    """Return how many rows the sealed files of each type have."""
    return [sorted(check_manifest(file).rows for file in sealed_files(lab.path, name)) for name in TYPES]


@pytest.mark.parametrize("interrupt", [lose_the_reply, fill_the_disk], ids=["reply lost", "disk full while sealing"])
def test_files_that_an_interrupted_rotation_made_are_as_old_as_they_are(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, interrupt: Any
) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(3)
    lab.clock.now += A_DAY
    interrupt(lab, worker, monkeypatch)
    with pytest.raises(RECOVERABLE) as trouble:
        drain(worker, 4)
    assert worker.recover(trouble.value)
    for hours in (1, 22):
        lab.clock.now += hours * 3600
        lab.publisher.publish_some(3)
        drain(worker, worker.totals.events + 3)
    assert sealed_rows(lab) == [[1]] * 3
    lab.clock.now += 3600
    lab.publisher.publish_some(3)
    drain(worker, worker.totals.events + 3)
    assert sealed_rows(lab) == [[1, 3]] * 3
    assert recipients_in(lab.path) == expected(lab)


def test_a_rotation_that_failed_is_done_after_the_recovery(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.clock.now += A_DAY
    left = failing(errno.ENOSPC, 1, lambda path: str(path).endswith(".tsv"), "link", monkeypatch)
    with pytest.raises(DiskTrouble) as trouble:
        worker.step()
    assert worker.recover(trouble.value)
    worker.step()  # idle
    assert left == []
    assert [check_manifest(file).reason for name in TYPES for file in sealed_files(lab.path, name)] == ["interval"] * 3
