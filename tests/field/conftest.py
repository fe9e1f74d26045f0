"""Each fault that was seen in the field, done again with real servers and processes, and others of its kind.

A module for each section of the list of faults. `FIELD=all` runs the long form. `FIELD_CHECKOUT=DIR` runs the workers
and commands of another checkout, such as an early one: what is red there, and green here, was mended in between.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.site import Site
from tests.support.servers import RealValkey

if other := os.environ.get("FIELD_CHECKOUT"):
    os.environ |= {"PYTHONPATH": other, "PYTHONSAFEPATH": "1"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealValkey]:
    with RealValkey(tmp_path / "valkey") as made:
        yield made


@pytest.fixture
def site(server: RealValkey, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, server)
    yield made
    made.kill()
