"""A process with a schedule alone: writes a line whenever one of its jobs runs. Ends when its input does."""

import logging
import sys
import time

from worker import schedule, timers
from worker.schedule import Job, Schedule
from worker.settings import RotationSettings


def main(*names: str) -> None:
    """Run jobs of these names once a second; `hangs` never comes back from its first run."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    schedule._STALLED_SECONDS, timers._LOOK_SECONDS = 2.0, 0.5
    rotation = RotationSettings(archiving=True, interval_seconds=1, max_size_bytes=1)
    running = Schedule(rotation, [_job(name) for name in names])
    running.start()
    _say("started")
    sys.stdin.read()
    running.stop()
    _say("stopped")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _job(name: str) -> Job:
    def work() -> None:
        _say(name)
        if name == "hangs":
            time.sleep(100_000)

    return Job(name, 1, work)


if __name__ == "__main__":
    main(*sys.argv[1:])
