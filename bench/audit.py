"""How long an audit takes: `python -m bench.audit`.

Row by row: fills the three streams of a real Valkey, lets a worker write them with rotations, and audits them, with
`--deep` too, by the command itself. Counts: a directory of 30 000 sealed files that say they hold 100 000 000 rows, and
a ledger of 1 000 other directories. Prints the median of three runs: rows (or files) per second of CPU of the whole
command, the target beside them, its peak memory, and the server's CPU; of every row also what it costs beyond the
counts, which are start-up mostly, and beside it what the worker needed to write them, since a busy machine slows both.
Ends with 1 where an audit finds something; figures decide nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.drain import KEYS, PARTITION, reset, server_cpu
from bench.replay import fill, write
from bench.valkey import Valkey
from schemas.catalogue import DEFAULT_COLUMNS
from schemas.events import TYPES
from worker.manifest import Manifest, encode, manifest_path

_RUNS = 3
_TARGET = 200_000  # rows of a deep audit per second of one core
_FILES = 30_000
_ROWS = 100_000_000
_DIRECTORIES = 1_000
_FILE_BYTES = 700_000


class Run(NamedTuple):
    """What an audit took, in seconds, and what it found."""

    cpu: float
    wall: float
    server_cpu: float
    peak_mb: float
    findings: int


def audit(server: Valkey, client: Any, ini: Path, *arguments: str) -> Run:
    """Audit by the command."""
    before = server_cpu(client)
    wall = time.perf_counter()
    where = ("--config", str(ini), "--redis", server.url)
    command = [sys.executable, "-m", "worker", "audit", *where, "--json", *arguments]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)
        _, process.returncode, used = os.wait4(process.pid, 0)  # what it alone has used
        output.seek(0)
        told = json.load(output)
    return Run(
        cpu=used.ru_utime + used.ru_stime, wall=time.perf_counter() - wall, server_cpu=server_cpu(client) - before,
        peak_mb=used.ru_maxrss / 1000, findings=len(told["findings"]),
    )  # fmt: skip


def median(runs: Sequence[Run]) -> Run:
    """Return the median of each figure, and all findings."""
    middle = Run(*map(statistics.median, zip(*runs, strict=True)))
    return middle._replace(findings=sum(run.findings for run in runs))


def balance(client: Any) -> None:
    """Tell the ledger how much was published, which filling the streams directly leaves out."""
    for event_type, key in KEYS.streams.items():
        client.hset(KEYS.ledger, f"{event_type}:published", client.xlen(key))


def many_files(client: Any, directory: Path) -> Path:
    """Make a directory of many sealed files of no content, and the ledger that fits; returns its ini."""
    files = directory / "files"
    for event_type in TYPES:
        (files / event_type / "archive").mkdir(parents=True)
    (files / ".directory-id").write_text("bench\n")
    counted = dict.fromkeys(TYPES, 0)
    for number in range(_FILES):
        event_type = TYPES[number % len(TYPES)]
        path = files / event_type / "archive" / f"{event_type}.{number:06}.tsv"
        rows = _ROWS // _FILES + (number < _ROWS % _FILES)
        counted[event_type] += rows
        with path.open("wb") as file:
            file.truncate(_FILE_BYTES)  # sparse: no content is read
        manifest_path(path).write_bytes(encode(_manifest(path.name, event_type, rows)))
    client.delete(*client.keys("*"))
    for event_type, rows in counted.items():
        counters = dict.fromkeys(("published", "events"), rows) | {"rows": rows + _DIRECTORIES, "rows:bench": rows}
        counters |= {f"rows:{number:016x}": 1 for number in range(_DIRECTORIES)}
        client.hset(KEYS.ledger, mapping={f"{event_type}:{name}": count for name, count in counters.items()})
    ini = directory / "accounting_files.ini"
    ini.write_text(f"path = {files}\n[redis]\npartition = {PARTITION}\n")
    return ini


def _manifest(name: str, event_type: str, rows: int) -> Manifest:
    return Manifest(
        name=name, type=event_type, rows=rows, bytes=_FILE_BYTES, sha256="0" * 64, columns=DEFAULT_COLUMNS[event_type],
        opened_ms=1, first_id="1-0", last_id="2-0", first_time_ms=1, last_time_ms=2, writer="bench-1",
        directory="bench", reason="size", version="0", format="tsv", separator="\t", timezone="UTC",
    )  # fmt: skip


def main() -> None:
    """Fill, write, audit, print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    options = arguments.parse_args()
    shown = Table("audit of", "rows or files", "per second of CPU", "CPU s", "server CPU s", "s", "peak MB", "findings")
    taken: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as name, Valkey(Path(name) / "server") as server:
        work, client = Path(name), server.client()
        fill(client, options.rows)
        reset(client)
        worker_us = write(server.url, options.rows, work / "live")["cpu_us"]
        balance(client)
        ini = work / "live" / "accounting_files.ini"
        cases = [("counts", options.rows, ini, ()), ("every row", options.rows, ini, ("--deep",))]
        others = tuple(f"--elsewhere={number:016x}" for number in range(_DIRECTORIES))
        for what, size, at, flags in [*cases, ("counts of many files", _FILES, None, others)]:
            found_at = at or many_files(client, work)
            taken[what] = run = median([audit(server, client, found_at, *flags) for _ in range(_RUNS)])
            shown.add_row(
                what, f"{size:,}", f"{size / run.cpu:,.0f}", f"{run.cpu:.2f}", f"{run.server_cpu:.2f}",
                f"{run.wall:.2f}", f"{run.peak_mb:.0f}", str(run.findings),
            )  # fmt: skip
            if "--deep" in flags:
                shown.add_row("target", "", f"{_TARGET:,}", f"{size / _TARGET:.2f}")
    row_us = (taken["every row"].cpu - taken["counts"].cpu) / options.rows * 1e6
    Console(width=120).print(shown)
    Console(width=120).print(
        f"every row beyond the counts: {row_us:.2f} µs, {1e6 / row_us:,.0f} rows per second of CPU"
    )
    Console(width=120).print(f"the worker that wrote them: {worker_us:.2f} µs, {1e6 / worker_us:,.0f} rows likewise")
    sys.exit(any(run.findings for run in taken.values()))


if __name__ == "__main__":
    main()
