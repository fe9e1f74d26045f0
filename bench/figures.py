"""What a reader's process reports of itself, as its last line of output."""

import json
import resource
import time


class Figures:
    """Counts wall and CPU time from its making on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def report(self, events: int) -> None:
        """Print rate, CPU per event and peak memory as JSON."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(json.dumps({"rate": events / wall, "cpu_us": cpu / events * 1e6, "peak_mb": peak_mb}))
