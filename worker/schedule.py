"""Timers: APScheduler wakes the loop when an open file may be due, and runs what is not the loop's work.

The scheduler's thread never touches an open file or the connection. It sets a flag, for which the loop looks at once
and does not wait for entries first. Whether a file is due is decided by the pure policy from the file's start; the loop
asks it after each wait. A timer that fires late, after a stall or because the wall clock was set back, skips nothing:
`misfire_grace_time` is None (APScheduler's default of one second drops such a run without a word, protocol trap 30).
"""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from worker.settings import RotationSettings

_FIRST_SECONDS = 60


class Job(NamedTuple):
    """Work that is not the loop's, done in the scheduler's thread; it must not raise."""

    name: str
    every_seconds: int
    work: Callable[[], None]
    stop: Callable[[], None] | None = None  # asks one that takes long to end early; it has a thread of its own


class Schedule:
    """The timers of one worker."""

    def __init__(self, rotation: RotationSettings, jobs: Sequence[Job]) -> None:
        self._interval_seconds = rotation.interval_seconds
        self._cron = rotation.archive_cron
        self._due = threading.Event()
        self._stops = [job.stop for job in jobs if job.stop]
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1), "long": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for job in jobs:
            # Soon after the start too: a worker that is restarted often would never come to its hourly jobs.
            first = datetime.now(UTC) + timedelta(seconds=min(_FIRST_SECONDS, job.every_seconds))
            trigger = IntervalTrigger(seconds=job.every_seconds)
            executor = "long" if job.stop else "default"
            self._scheduler.add_job(job.work, trigger, id=job.name, next_run_time=first, executor=executor)
        if rotation.archiving and self._cron:
            self._scheduler.add_job(self._due.set, CronTrigger.from_crontab(self._cron, rotation.timezone))

    def start(self) -> None:
        """Start the timers."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the timers, and wait for a job that runs."""
        for stop in self._stops:
            stop()
        if self._scheduler.running:
            self._scheduler.shutdown()

    def arm(self, event_type: str) -> None:
        """Wake the loop every interval from now on: the file of this type was born now."""
        if self._cron:
            return  # it is woken anyway
        start = datetime.now(UTC) + timedelta(seconds=self._interval_seconds)
        trigger = IntervalTrigger(seconds=self._interval_seconds, start_date=start)
        self._scheduler.add_job(self._due.set, trigger, id=f"archive {event_type}", replace_existing=True)

    def take_due(self) -> bool:
        """Tell whether a timer has fired since the last call."""
        if not self._due.is_set():
            return False
        self._due.clear()
        return True
