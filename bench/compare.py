"""Whether a change cost CPU: `python -m bench.compare REVISION`.

Drains the same stream by turns with the worker of this tree and with that of a git revision, A B B A …, each in a
process of its own, seals the files, and prints the ratio of CPU per event pair by pair, with its median and spread. The
server runs with appendonly off, so that it is the worker that is measured; fsync and the whole protocol are on.
"""

import argparse
import io
import statistics
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.drain import drain, fill, set_appendonly
from bench.valkey import Valkey

_ROOT = Path(__file__).resolve().parent.parent


def unpack(revision: str, into: Path) -> Path:
    """Write the tree of a revision below a directory."""
    archive = subprocess.run(["git", "archive", revision], cwd=_ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(into, filter="data")
    return into


def pair(client: Any, url: str, trees: tuple[Path, Path], entries: int, work: Path, turn: int) -> tuple[float, float]:
    """Drain with both trees, the order changing every turn; returns µs of CPU per event of each."""
    figures = {}
    for index in (0, 1) if turn % 2 else (1, 0):
        directory = work / f"{turn}-{index}"
        figures[index] = drain(client, "drain_worker", url, entries, directory, tree=trees[index])["cpu_us"]
    return figures[0], figures[1]


def main() -> None:
    """Fill, drain in pairs, print the ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("revision")
    arguments.add_argument("--entries", type=int, default=200_000)
    arguments.add_argument("--pairs", type=int, default=8)
    options = arguments.parse_args()
    table = Table("pair", "this tree µs/event", f"{options.revision} µs/event", "ratio")
    ratios = []
    with tempfile.TemporaryDirectory() as work, Valkey(Path(work) / "server") as server:
        trees = (_ROOT, unpack(options.revision, Path(work) / "before"))
        client = server.client()
        set_appendonly(client, "no")
        fill(client, options.entries)
        for turn in range(options.pairs):
            now, before = pair(client, server.url, trees, options.entries, Path(work), turn)
            ratios.append(now / before)
            table.add_row(str(turn + 1), f"{now:.2f}", f"{before:.2f}", f"{now / before:.3f}")
    console = Console()
    console.print(table)
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    console.print(f"median ratio {statistics.median(ratios):.3f}, {spread}, {options.entries:,} events a run")


if __name__ == "__main__":
    main()
