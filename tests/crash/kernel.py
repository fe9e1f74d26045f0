"""The operating system of a simulation: at each operation the history decides who runs, who dies, and what fails."""

import errno
import os
from typing import TYPE_CHECKING

from tests.crash.disk import Disk, Kernel

if TYPE_CHECKING:
    from tests.crash.simulation import Simulation


class SimulatedKernel(Kernel):
    """Interrupts the process that runs, and no other."""

    def __init__(self, disks: list[Disk], simulation: "Simulation") -> None:
        super().__init__(disks)
        self._simulation = simulation

    def tick(self, what: str) -> None:
        self.look(what)

    def look(self, what: str) -> None:
        if process := self._simulation.running:
            process.tick(what)
            self._simulation.now += 0.000_001
            self._simulation.tell(process.name, what)

    def fail(self, what: str) -> None:
        if process := self._simulation.running:
            number = self._simulation.troubles_of(process).meet(what)
            if process.fails_in:
                process.fails_in -= 1
                number = number or (0 if process.fails_in else errno.EIO)
            if number:
                self._simulation.tell(process.name, "  fails:", what, os.strerror(number))
                raise OSError(number, os.strerror(number), what)

    def written_of(self, length: int) -> int:
        process = self._simulation.running
        return self._simulation.troubles_of(process).written_of(length) if process else length

    def wait(self, what: str) -> None:
        if process := self._simulation.running:
            process.wait(what)

    def process(self) -> object:
        return self._simulation.running

    def pid(self) -> int:
        return self._simulation.running.pid if self._simulation.running else 1
