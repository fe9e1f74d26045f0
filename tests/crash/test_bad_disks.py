"""Disks on which an fsync fails, and is not done by the next one: what is sealed is durable all the same."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.crash.ending import check, finish
from tests.crash.history import LAYOUTS
from tests.crash.simulation import Simulation
from tests.support.files import sealed_files


def goes_on(simulation: Simulation) -> None:
    simulation.step(0, 200)


def restarts(simulation: Simulation) -> None:
    simulation.kill(0)
    simulation.start(0)
    simulation.step(0, 200)


def leaves_an_orphan(simulation: Simulation) -> None:
    simulation.kill(0)
    simulation.lapse(0)
    simulation.step(1, 300)  # looks around


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("then", [goes_on, restarts, leaves_an_orphan])
def test_trap_17_a_cut_whose_fsync_failed_is_durable_before_the_file_is_sealed(
    tmp_path: Path, then: Callable[[Simulation], None], seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        simulation = Simulation(tmp_path, patch, LAYOUTS["two"], max_size_bytes=900)
        try:
            for number in (0, 1):
                simulation.start(number)
                simulation.step(number, 300)
            simulation.publish(3)
            simulation.step(0, 100)
            simulation.publish(3)
            simulation.step_to(0, "commit")
            simulation.break_next(0, "late")  # it vanishes: the recovery finds a tail
            simulation.step(0, 1)
            simulation.wire.late.clear()
            simulation.step_to(0, "ftruncate")
            simulation.step(0, 1)
            assert simulation.processes[0].next == "fsync"
            simulation.break_disk(0, 1)
            simulation.step(0, 1)
            then(simulation)
            assert any(sealed_files(simulation.paths[0], name) for name in TYPES)
            simulation.power_loss(0, random.Random(seed))
            finish(simulation)
            check(simulation)
        finally:
            simulation.close()
