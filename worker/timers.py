"""Timers: APScheduler, whose jobs follow the time that passes, and of which one that hangs holds up no other.

APScheduler keeps the wall clock's time at which each job is due. Set back by ten days, it would do nothing for ten
days. So the scheduler looks every few seconds how far the wall clock has moved against the time that passed, and moves
the jobs along with it. Jobs of a calendar (cron) are due by the wall clock, wherever it is set: they are asked anew.
"""

import logging
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock, Thread
from typing import Any

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from worker.elapsed import elapsed_seconds
from worker.log import event

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_TOLD_SECONDS = 60.0
_LEAP_SECONDS = 1.0  # less is what NTP does in passing, and what this process is held up between two readings


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires a period after it fired last, however late that was: runs that were missed are not made up for."""

    def __init__(self, seconds: float) -> None:
        self.period = timedelta(seconds=seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return when it fires next."""
        return now + self.period


class ThreadForEachRun(BaseExecutor):  # type: ignore[misc]
    """Runs each job in a thread of its own, which does not keep the process from ending."""

    def __init__(self) -> None:
        super().__init__()
        self._threads: set[Thread] = set()
        self._threads_lock = Lock()

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        thread = Thread(target=self._run, args=(job, run_times), name=job.id, daemon=True)
        with self._threads_lock:
            self._threads = {each for each in self._threads if each.is_alive()} | {thread}
            thread.start()

    def _run(self, job: Job, run_times: list[datetime]) -> None:
        try:
            done = run_job(job, job._jobstore_alias, run_times, self._logger.name)  # noqa: SLF001
        except BaseException:  # noqa: BLE001  # as APScheduler's own executors do
            self._run_job_error(job.id, *sys.exc_info()[1:])
        else:
            self._run_job_success(job.id, done)

    def wait(self, seconds: float) -> list[str]:
        """Wait for the runs that are under way, together for so long; return the jobs that are not done then."""
        end = time.monotonic() + seconds
        with self._threads_lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return sorted(thread.name for thread in threads if thread.is_alive())


class SteadyScheduler(BackgroundScheduler):  # type: ignore[misc]
    """A scheduler that the wall clock can be set under."""

    def __init__(self, look: Callable[[], None], **options: Any) -> None:  # noqa: ANN401 - APScheduler's
        """Take what to do at each look; it must not raise, nor take long."""
        super().__init__(**options)
        self._do_at_each_look = look
        self._wall_is_ahead = _wall_is_ahead()

    def _process_jobs(self) -> float:
        self._follow_the_clock()
        self._do_at_each_look()
        wait: float | None = super()._process_jobs()
        return _LOOK_SECONDS if wait is None else min(wait, _LOOK_SECONDS)

    def _follow_the_clock(self) -> None:
        """Move what is due by as much as the wall clock was set."""
        leap = _wall_is_ahead() - self._wall_is_ahead
        if abs(leap) < _LEAP_SECONDS:
            return
        self._wall_is_ahead += leap
        if abs(leap) >= _TOLD_SECONDS:
            event(_log, "clock.set", logging.WARNING, seconds=round(leap), next="timers go by the time that passes")
        for job in self.get_jobs():
            if isinstance(job.trigger, Every):
                job.modify(next_run_time=job.next_run_time + timedelta(seconds=leap))
            else:
                job.reschedule(job.trigger)


def _wall_is_ahead() -> float:
    """Return by how many seconds the wall clock is ahead of the time that passes: the same until it is set."""
    return time.time() - elapsed_seconds()
