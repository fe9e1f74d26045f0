"""What a network can do to the connection of a worker process: noticed in time, and each row is written once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from haraka.demo.waiting import free_port
from tests.outage.proxy import Mode, Proxy
from tests.server.bench import Bench
from tests.support.servers import RealValkey, wait_until


@pytest.fixture
def proxy(valkey: RealValkey) -> Iterator[Proxy]:
    with Proxy(valkey.settings.port, free_port()) as made:
        yield made


@pytest.fixture
def bench(valkey: RealValkey, proxy: Proxy, tmp_path: Path) -> Iterator[Bench]:
    """Yield a worker whose connections lead through the proxy; those of everybody else do not."""
    made = Bench(valkey, tmp_path, f"redis://127.0.0.1:{proxy.port}/0")
    yield made
    made.kill()


@pytest.mark.parametrize("mode", [Mode.DROP, Mode.SWALLOW])
def test_a_connection_that_is_half_open_is_given_up_by_the_socket_timeout(
    bench: Bench, proxy: Proxy, mode: Mode
) -> None:
    bench.worker.start()
    bench.write_some()
    proxy.mode = mode
    bench.publish()  # what is delivered, the worker does not see
    bench.told("worker.recovering")
    assert re.search(r"worker.recovering why=.*[Tt]imeout", bench.worker.log())
    wait_until(lambda: proxy.faults > 2, "another attempt")
    proxy.mode = Mode.PASS
    bench.check()
    assert bench.worker.log().count("worker.recovering") < 4


def test_a_worker_starts_though_its_first_connections_are_half_open(bench: Bench, proxy: Proxy) -> None:
    bench.publish()
    proxy.mode = Mode.DROP
    bench.worker.start(ready=False)
    bench.told("worker.recovering")
    proxy.mode = Mode.PASS
    bench.check()


def test_connections_that_are_reset_in_the_middle_of_requests_and_replies_cost_no_row(
    bench: Bench, proxy: Proxy
) -> None:
    bench.worker.start()
    bench.write_some()
    for _ in range(4):
        before = proxy.faults
        proxy.mode = Mode.RESET
        bench.publish()
        wait_until(lambda: proxy.faults >= before + 2, "half a request, and a whole one, without a reply")  # noqa: B023
        proxy.mode = Mode.PASS
        wait_until(bench.written, "every row")
    assert "reset" in bench.worker.log().lower()
    bench.check()
