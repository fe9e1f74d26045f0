"""Real processes whose wall clock a test sets."""

from pathlib import Path

import pytest

from tests.support.wall_clock import WallClock


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    directory = tmp_path / "clock"
    directory.mkdir()
    return WallClock(directory)
