"""How long the machine made a small durable write wait, at worst: what nobody can promise to be faster than."""

import os
import threading
import time
from pathlib import Path
from typing import Final, Self

EVERY_SECONDS: Final = 0.05


class Pulse:
    """A thread that wakes, writes and syncs again and again; `worst_ms` is the longest that one round took too much."""

    def __init__(self, directory: Path) -> None:
        self.worst_ms = 0.0
        self._file = directory / "pulse"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self._file.open("wb") as file:
            due = time.monotonic() + EVERY_SECONDS
            while not self._stop.wait(EVERY_SECONDS):
                file.seek(0)
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
                now = time.monotonic()
                self.worst_ms = max(self.worst_ms, (now - due) * 1000)
                due = now + EVERY_SECONDS
