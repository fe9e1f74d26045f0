"""What holds for all tests: workers made in the test's own process are processes of their own to each other.

And an example of hypothesis has no deadline, since a loaded machine takes its time.
"""

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from worker import process_id
from worker.loop import Worker

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Give back the umask, which commands take for themselves, to whatever is tested next in this process."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def processes_of_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each worker be a process that lives until it is released: a lease of one that died tells that it is gone."""
    numbers, living = itertools.count(1), set[str]()
    is_gone, release = process_id.is_gone, Worker.release

    def start() -> str:
        living.add(name := f"test {next(numbers)} -")
        return name

    def end(worker: Worker) -> None:
        living.discard(worker._stream._holder)
        release(worker)

    def is_dead(holder: str) -> bool:
        return holder not in living if holder.startswith("test ") else is_gone(holder)

    with monkeypatch.context() as patch:
        patch.setattr(process_id, "mine", start)
        patch.setattr(process_id, "is_gone", is_dead)
        patch.setattr(Worker, "release", end)
        yield
