"""Schedule: APScheduler wakes the loop when an open file may be due, and runs what is not the loop's work.

No thread of it touches an open file or the loop's connection. A timer sets a flag, for which the loop looks at once
and does not wait for entries first. Whether a file is due is decided by the pure policy from the file's start; the loop
asks it after each wait. A timer that fires late, after a stall, skips nothing: `misfire_grace_time` is None
(APScheduler's default of one second drops such a run without a word, protocol trap 30).

A job that hangs, on a disk or a server that answers nothing, is told, and holds up neither the others nor the end of
the process: whatever a job does can be interrupted anywhere.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from apscheduler.triggers.cron import CronTrigger

from worker.elapsed import elapsed_seconds
from worker.log import event
from worker.settings import RotationSettings
from worker.timers import Every, SteadyScheduler, ThreadForEachRun

_log = logging.getLogger(__name__)

FIRST_SECONDS = 60
_STALLED_SECONDS = 900.0  # a step that takes so long is told, and told again after each hour
_REMIND_SECONDS = 3600.0
_STOP_SECONDS = 5.0  # for the jobs under way: supervisors kill after ten


class Step(NamedTuple):
    """What a job is at, and since when, by the clock of `elapsed_seconds`."""

    what: str
    since: float


class Job(NamedTuple):
    """Work that is not the loop's, done in a thread of its own; it must not raise."""

    name: str
    every_seconds: int
    work: Callable[[], None]
    stop: Callable[[], None] | None = None  # asks one that takes long to end early
    step: Callable[[], Step | None] | None = None  # what one that takes long is at; it has no other work while None
    first_seconds: int = FIRST_SECONDS  # from the start to the first run; at most a period


class Schedule:
    """The timers of one worker."""

    def __init__(self, rotation: RotationSettings, jobs: Sequence[Job]) -> None:
        self._interval_seconds = rotation.interval_seconds
        self._cron = rotation.archive_cron
        self._due = threading.Event()
        self._jobs = jobs
        self._running: dict[str, float] = {}  # by job: since when
        self._told: dict[str, float] = {}  # by job that has stalled: when that is told again
        self._threads = ThreadForEachRun()
        self._scheduler = SteadyScheduler(
            self._tell_stalled,
            timezone=UTC,
            executors={"default": self._threads},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for number, job in enumerate(jobs):
            # Soon after the start too: a worker that is restarted often would never come to its hourly jobs. One after
            # the other, as far as they are quick.
            seconds = min(job.first_seconds + number, job.every_seconds)
            first = datetime.now(UTC) + timedelta(seconds=seconds)
            work, trigger = self._watched(job), Every(job.every_seconds)
            self._scheduler.add_job(work, trigger, id=job.name, next_run_time=first)
        if rotation.archiving and self._cron:
            self._scheduler.add_job(self._due.set, CronTrigger.from_crontab(self._cron, rotation.timezone))

    def start(self) -> None:
        """Start the timers."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the timers, and wait for jobs that run, but not for ever: the end of the process ends them too."""
        for job in self._jobs:
            if job.stop:
                job.stop()
        if self._scheduler.running:
            self._scheduler.shutdown()
        if undone := self._threads.wait(_STOP_SECONDS):
            event(_log, "job.abandoned", logging.WARNING, jobs=",".join(undone), next="the next start goes on with it")

    def arm(self, event_type: str) -> None:
        """Wake the loop every interval from now on: the file of this type was born now."""
        if self._cron:
            return  # it is woken anyway
        first = datetime.now(UTC) + timedelta(seconds=self._interval_seconds)
        self._scheduler.add_job(
            self._due.set, Every(self._interval_seconds), id=f"archive {event_type}", next_run_time=first,
            replace_existing=True,
        )  # fmt: skip

    def take_due(self) -> bool:
        """Tell whether a timer has fired since the last call."""
        if not self._due.is_set():
            return False
        self._due.clear()
        return True

    def _watched(self, job: Job) -> Callable[[], None]:
        """Return a job's work, with a note of when it runs."""

        def work() -> None:
            self._running[job.name] = elapsed_seconds()
            try:
                job.work()
            finally:
                del self._running[job.name]

        return work

    def _tell_stalled(self) -> None:
        """Tell the jobs whose present step takes very long, and that they went on."""
        now = elapsed_seconds()
        for job in self._jobs:
            step = self._step(job)
            seconds = now - step.since if step else 0.0
            if step and seconds >= _STALLED_SECONDS:
                if now >= self._told.get(job.name, 0.0):
                    self._told[job.name] = now + _REMIND_SECONDS
                    event(_log, "job.stalled", logging.WARNING, job=job.name, step=step.what, seconds=round(seconds))
            elif self._told.pop(job.name, None) is not None:
                event(_log, "job.went_on", job=job.name)

    def _step(self, job: Job) -> Step | None:
        """Return what a job is at, None where it does nothing."""
        since = self._running.get(job.name)
        if since is None:
            return None
        return job.step() if job.step else Step(job.name, since)
