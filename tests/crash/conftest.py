"""Simulations that a test steps by hand."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.crash.history import LAYOUTS
from tests.crash.simulation import Simulation

Simulate = Callable[..., Simulation]


class Worst(random.Random):
    """A power loss in which everything is gone that can be gone."""

    def randrange(self, *_: Any, **__: Any) -> int:
        return 0

    def randint(self, a: int, b: int) -> int:
        return min(a, b)


@pytest.fixture
def simulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulate]:
    """Make a simulation of a layout; its workers, or some of them, are started and idle."""
    made = []

    def simulate(layout: str, *, starts: Sequence[int] = (0, 1, 2), **options: Any) -> Simulation:
        simulation = Simulation(tmp_path, monkeypatch, LAYOUTS[layout], **options)
        made.append(simulation)
        for number in starts[: len(simulation.slots)]:
            simulation.start(number)
            simulation.step(number, 300)
        return simulation

    yield simulate
    for simulation in made:
        simulation.close()
    monkeypatch.undo()


@pytest.fixture
def two(simulate: Simulate) -> Simulation:
    """Two workers of one directory."""
    return simulate("two")
