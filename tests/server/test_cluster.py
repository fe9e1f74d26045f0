"""A node of a cluster that has no slots, or is giving one away: the worker backs off, and goes on once it can."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from haraka.demo.waiting import free_port
from tests.server.bench import KEYS, Bench
from tests.support.servers import wait_until
from worker.server import binary
from worker.settings import ServerSettings


class Node:
    """A node of a cluster; as `RealValkey` in what a bench needs of it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.settings = ServerSettings(directory=directory, port=free_port())
        self.url = f"redis://127.0.0.1:{self.settings.port}/0"
        self._bus = free_port()
        self._process = subprocess.Popen(
            [
                binary(), "--bind", "127.0.0.1", "--port", str(self.settings.port), "--dir", directory,
                "--cluster-enabled", "yes", "--cluster-port", str(self._bus), "--save", "", "--appendonly", "yes",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def client(self) -> Any:
        return redis.Redis.from_url(self.url, protocol=2, socket_timeout=30)

    def accepts(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.ConnectionError:
            return False

    def cluster(self, *words: object) -> Any:
        """Run a CLUSTER command, without redis-py's reading of its reply."""
        reply = self.client().execute_command("CLUSTER", *words)
        return reply.decode() if isinstance(reply, bytes) else reply

    def state(self) -> str:
        return str(self.cluster("INFO"))

    def meet(self, other: "Node") -> None:
        self.client().execute_command("CLUSTER", "MEET", "127.0.0.1", other.settings.port, other._bus)

    def __enter__(self) -> Self:
        wait_until(self.accepts, "the node")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    with ExitStack() as stack:
        one, other = (stack.enter_context(Node(tmp_path / name)) for name in ("one", "other"))
        yield one, other


@pytest.fixture
def bench(nodes: tuple[Node, Node], tmp_path: Path) -> Iterator[Bench]:
    one, other = nodes
    one.cluster("ADDSLOTSRANGE", 0, 16_383)
    one.meet(other)
    wait_until(lambda: "cluster_state:ok" in one.state() and "cluster_known_nodes:2" in one.state(), "the cluster")
    made = Bench(one, tmp_path)  # type: ignore[arg-type]  # it has what a bench needs of a server
    yield made
    made.kill()


def test_trap_32_a_node_without_slots_is_waited_for(bench: Bench, nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    bench.worker.start()
    bench.write_some()
    bench.publish()
    one.cluster("DELSLOTSRANGE", 0, 16_383)
    bench.told("Hash slot not served")  # CLUSTERDOWN
    one.cluster("ADDSLOTSRANGE", 0, 16_383)
    wait_until(lambda: "cluster_state:ok" in one.state(), "the cluster")
    bench.check()
    assert bench.worker.log().count("worker.recovering") < 5


def test_trap_32_a_slot_that_moves_away_makes_the_worker_wait_only_where_a_key_is_missing(
    bench: Bench, nodes: tuple[Node, Node]
) -> None:
    one, other = nodes
    bench.worker.start()
    bench.write_some()
    slot = bench.client.execute_command("CLUSTER", "KEYSLOT", KEYS.owners)
    one.cluster("SETSLOT", slot, "MIGRATING", str(other.cluster("MYID")))
    bench.write_some()  # every key that a script names is there
    assert "worker.recovering" not in bench.worker.log()
    bench.client.delete(KEYS.lease("worker-1"))
    bench.told("Multiple keys request during rehashing of slot")  # TRYAGAIN
    one.cluster("SETSLOT", slot, "STABLE")
    bench.told("worker.recovered")
    bench.publish()
    bench.check()
