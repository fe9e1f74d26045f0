"""Real processes whose wall clock a test sets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import RealValkey
from tests.support.wall_clock import WallClock


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    directory = tmp_path / "clock"
    directory.mkdir()
    return WallClock(directory)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RealValkey]:
    with RealValkey(tmp_path / "valkey") as server:
        yield server
