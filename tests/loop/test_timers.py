"""Timers and clocks: what is late is done late, not skipped, and nothing waits for a clock that was set back."""

import threading
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.support.files import check_manifest, sealed_files
from tests.support.workers import drain, settings
from worker import schedule
from worker.schedule import Job, Schedule


class AnHourAgo(datetime):
    """The clock as it was before a stall of an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "AnHourAgo":
        return cls.fromtimestamp((datetime.now(tz) - timedelta(hours=1)).timestamp(), tz)


def test_trap_30_a_job_that_is_late_by_an_hour_is_done_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "datetime", AnHourAgo)
        timers = Schedule(
            settings(tmp_path).rotation, [Job("janitor", 7_200, done.set)]
        )  # due 59 minutes ago, next in an hour
    timers.start()
    try:
        assert done.wait(30)
    finally:
        timers.stop()


def reasons(lab: Lab) -> list[str]:
    return [check_manifest(file).reason for name in TYPES for file in sealed_files(lab.path, name)]


@pytest.mark.parametrize("set_by", [-7 * 86_400, -3_600, 0, 7 * 86_400])
def test_an_idle_worker_archives_a_file_as_old_as_the_interval_wherever_the_wall_clock_is_set(
    lab: Lab, set_by: int
) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()  # its timers are not started: none fires
    drain(worker, 3)
    lab.clock.wall_is_ahead = set_by
    lab.clock.now += 86_399
    worker.step()
    assert reasons(lab) == []
    lab.clock.now += 1
    worker.step()
    assert reasons(lab) == ["interval"] * 3


def test_an_idle_worker_archives_a_file_that_an_instant_of_archive_cron_has_passed_though_no_timer_fires(
    lab: Lab,
) -> None:
    lab.configure("rotation", archive_cron="0 0 1 * *")
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    worker.step()
    assert reasons(lab) == []
    lab.clock.wall_is_ahead = 32 * 86_400
    worker.step()
    assert reasons(lab) == ["cron"] * 3


def test_an_idle_worker_that_a_timer_wakes_does_not_wait_for_entries_first(lab: Lab) -> None:
    worker = lab.worker()
    worker.step()
    waits: list[str] = []
    lab.wire.before["BLOCK"].append(lambda: waits.append("waited"))
    worker._schedule._due.set()
    worker.step()
    assert waits == []
    worker.step()
    assert waits == ["waited"]
