"""Timers: what is late is done late, not skipped."""

import threading
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from tests.support.workers import settings
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
