"""The wall clock of real processes, set by a test while they run; the machine's own stays as it is.

Not libfaketime: it makes `time.sleep` of Python ≥ 3.11 fail, moves the monotonic clocks too unless it is told not to,
and does not go together with jemalloc, which servers bring.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """A wall clock of its own for the processes that get its environment."""

    def __init__(self, directory: Path) -> None:
        """Build what is loaded into them; skips the test where there is no C compiler, which CI must have."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            assert "CI" not in os.environ, "no C compiler"
            pytest.skip("needs a C compiler")
        library = directory / "wall_clock.so"
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE)], check=True)
        self._file = directory / "ahead_ms"
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self._file)}

    def set(self, *, days: float = 0, seconds: float = 0) -> None:
        """Set it ahead of the machine's clock by so much; below zero: behind."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", round((days * 86_400 + seconds) * 1000)))

    def for_new_processes(self, patch: pytest.MonkeyPatch) -> None:
        """Give it to every process that is started while the patch holds."""
        for name, value in self.environment.items():
            patch.setenv(name, value)
