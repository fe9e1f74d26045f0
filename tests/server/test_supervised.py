"""Two processes of one name in two directories, under a supervisor that starts again whatever ends: no storm."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.server.bench import KEYS, Bench
from tests.support.servers import WorkerProcess, wait_until
from worker.errors import ExitCode

ROUNDS = 4
HELD = "consumer name is held by a live worker"


class Supervisor:
    """Starts a worker again as often as it ends, and keeps its exit codes."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self.codes: list[int] = []
        worker.start(ready=False)

    def sees(self, condition: Callable[[], bool]) -> bool:
        """Start the worker again where it has ended; tells whether something has come about."""
        if not self.worker.is_alive():
            self.codes.append(self.worker.process.returncode)
            self.worker.start(ready=False)
        return condition()


class Registrations:
    """Counts the epochs that are given out from now on: the server tells each."""

    def __init__(self, client: Any) -> None:
        client.config_set("notify-keyspace-events", "K$")
        self._told = client.pubsub(ignore_subscribe_messages=True)
        self._told.subscribe(f"__keyspace@0__:{KEYS.epoch}")
        self._told.get_message(timeout=30)  # that it is heard
        self._count = 0

    def count(self) -> int:
        """Return how many there were."""
        self._told.ping("so far")  # answered behind all that was told before
        while (message := self._told.get_message(timeout=30)) is None or message["type"] != "pong":
            assert message is not None, "the server does not answer"
            self._count += message["data"] == b"set"
        return self._count


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*.tsv")}


def connections(bench: Bench) -> int:
    return int(bench.client.info("stats")["total_connections_received"])


def test_trap_20_twins_under_a_supervisor_register_once_each_and_who_lost_the_name_touches_no_file(
    bench: Bench,
) -> None:
    first = Supervisor(bench.worker)
    wait_until(lambda: first.sees(lambda: "worker.ready" in first.worker.log()), "the first")
    registrations = Registrations(bench.client)
    second = Supervisor(bench.another("worker-1", bench.path.parent / "elsewhere"))
    wait_until(lambda: second.sees(lambda: HELD in second.worker.log()), "the second to wait")
    bench.write_some()
    assert (registrations.count(), second.codes) == (0, [])

    before = contents(bench.path)
    os.kill(first.worker.process.pid, signal.SIGSTOP)  # for longer than its lease
    wait_until(lambda: second.sees(lambda: "worker.ready" in second.worker.log()), "the second to have the name")
    bench.write_some()
    os.kill(first.worker.process.pid, signal.SIGCONT)
    wait_until(lambda: first.sees(lambda: first.codes != []), "the end of the first")
    assert first.codes == [ExitCode.NAME_TAKEN]
    assert contents(bench.path) == before

    attempts = connections(bench)
    wait_until(lambda: first.sees(lambda: HELD in first.worker.log()), "the first to wait")
    wait_until(lambda: first.sees(lambda: connections(bench) > attempts + 4), "more attempts")
    assert (registrations.count(), first.codes, second.codes) == (1, [ExitCode.NAME_TAKEN], [])

    assert second.worker.stop() == 0
    wait_until(lambda: first.sees(lambda: "worker.ready" in first.worker.log()), "the first to have it back")
    bench.publish()
    bench.check()
    assert registrations.count() == 2


def test_trap_20_twins_whose_holder_is_killed_again_and_again_lose_and_double_nothing(bench: Bench) -> None:
    twins = [Supervisor(bench.worker), Supervisor(bench.another("worker-1", bench.path.parent / "elsewhere"))]

    def holders() -> list[Supervisor]:
        return [each for each in twins if each.sees(lambda: "worker.ready" in each.worker.log())]  # noqa: B023

    for _ in range(ROUNDS):
        wait_until(lambda: bool(holders()), "one of them to have the name")
        bench.publish()
        wait_until(lambda: bool(holders()) and bench.written(), "rows")
        for each in holders():
            each.worker.kill()
    wait_until(lambda: bool(holders()), "one of them to have the name")
    bench.check()
    taken = [code for each in twins for code in each.codes if code != -signal.SIGKILL]
    assert set(taken) <= {ExitCode.NAME_TAKEN}
    assert len(taken) < 3 * ROUNDS  # where both find that the lease is gone, the later registration wins
