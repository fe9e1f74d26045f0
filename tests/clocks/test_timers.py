"""The schedule of a real process: its jobs go on wherever the wall clock is set, and whatever one of them does."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.servers import PATIENCE_SECONDS, wait_until
from tests.support.wall_clock import WallClock


class Ticking:
    """A process that says when its jobs run."""

    def __init__(self, *jobs: str, environment: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.clocks.ticking", *jobs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def goes_on(self, job: str, runs: int = 2) -> None:
        """Wait until a job has run so many times more."""
        before = self.lines.count(job)
        wait_until(lambda: self.lines.count(job) >= before + runs, f"{job} runs; {self.lines[-9:]}")

    def end(self) -> int:
        """Let it stop, and return its exit code."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join()
        self.process.stdout.close()
        return code


@contextmanager
def ticking(*jobs: str, wall: WallClock | None = None) -> Iterator[Ticking]:
    running = Ticking(*jobs, environment=wall.environment if wall else None)
    try:
        wait_until(lambda: "started" in running.lines, "started")
        yield running
    finally:
        running.process.kill()
        running.end()


@pytest.mark.parametrize(
    ("at_start", "then"),
    [
        pytest.param(10, 0, id="started ten days ahead, then put right"),
        pytest.param(0, 10, id="set forward"),
        pytest.param(0, -10, id="set back"),
        pytest.param(0, 40_000, id="set forward by a hundred years"),
        pytest.param(40_000, 0, id="started a hundred years ahead, then put right"),
        pytest.param(-20_000, 0, id="started in the seventies, then put right"),
    ],
)
def test_jobs_go_on_wherever_the_wall_clock_is_set(wall: WallClock, at_start: float, then: float) -> None:
    wall.set(days=at_start)
    with ticking("chore", wall=wall) as running:
        running.goes_on("chore")
        wall.set(days=then)
        running.goes_on("chore")
        seconds = round((then - at_start) * 86_400)
        told = [line.split()[1] for line in running.lines if line.startswith("clock.set")]
        assert told in ([f"seconds={seconds + off}"] for off in (-1, 0, 1))


def test_jobs_run_once_a_period_and_not_more_often_while_the_clock_leaps_to_and_fro(wall: WallClock) -> None:
    with ticking("chore", wall=wall) as running:
        running.goes_on("chore", 1)
        began, before = time.monotonic(), running.lines.count("chore")
        for leap in (10, -10, 400, 0):
            wall.set(days=leap)
            running.goes_on("chore")
        ran, seconds = running.lines.count("chore") - before, time.monotonic() - began
        assert ran <= seconds + 8  # each leap forward can bring one run ahead of its time, until the next look


def test_jobs_go_on_while_the_wall_clock_stands_still(wall: WallClock) -> None:
    with ticking("chore", wall=wall) as running:
        running.goes_on("chore", 1)
        stands_at, over = time.monotonic(), threading.Event()

        def hold() -> None:
            while not over.wait(0.01):
                wall.set(seconds=stands_at - time.monotonic())

        holder = threading.Thread(target=hold)
        holder.start()
        try:
            running.goes_on("chore", 5)
        finally:
            over.set()
            holder.join()


def test_a_job_that_hangs_is_told_once_and_holds_up_neither_the_others_nor_the_end() -> None:
    with ticking("hangs", "chore") as running:
        wait_until(lambda: any("job.stalled" in line for line in running.lines), "job.stalled")
        running.goes_on("chore")
        assert running.end() == 0
        [told] = [line for line in running.lines if "job.stalled" in line]
        assert told.startswith("job.stalled job=hangs step=hangs seconds=")
        assert running.lines.count("hangs") == 1
        assert running.lines[-2:] == [
            'job.abandoned jobs=hangs next="the next start goes on with it"', "stopped",
        ]  # fmt: skip
