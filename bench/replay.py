"""Whether a replay gives everything back, and how fast: `python -m bench.replay`.

Fills the three streams of a real Valkey. Three times by turns a worker writes them with rotations, and the range is
replayed by the command itself, into a directory of its own. The first worker's whole directory is deleted before; rows
without header lines, sorted, have to be byte-identical per type, and files, names and manifests of all replays the
same. Ends with 1 where something differs; figures decide nothing, since a machine may be busy.

Prints the median of the three: events per second of one core (CPU time of the command, with and without its start-up)
and by the clock, the target beside them. The worker's own figure tells how fast this machine is just now.
"""

import argparse
import hashlib
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.drain import KEYS, PARTITION, event, reset
from bench.valkey import Valkey
from schemas.events import TAGS, TYPES

_RUNS = 3
_TARGET = 150_000  # events per second of one core
_LATER = "2999-01-01"  # nothing has arrived since then: what is left is the start-up
_MAX_SIZE_MB = 20
_INI = f"archiving = true\nmax_size = {_MAX_SIZE_MB}\n"
_FAILED = {"dsnStatus": "4.2.2", "dsnAction": "delayed", "dsnMsg": "mailbox full, try again later"}


class Run(NamedTuple):
    """What a command took, in seconds."""

    cpu: float
    wall: float


def entry(number: int) -> tuple[str, bytes]:
    """Return type and events of an entry: of ten, eight are delivered, one is deferred, one bounces."""
    event_type = {8: "deferred", 9: "bounce"}.get(number % 10, "delivered")
    payload = event(number)
    if event_type == "delivered":
        return event_type, payload
    [document] = json.loads(payload)
    document |= {"type": TAGS[event_type], "rcpts": [document["rcpts"][0] | _FAILED]}
    return event_type, json.dumps([document], separators=(",", ":")).encode()


def fill(client: Any, entries: int) -> None:
    """Publish the entries, one event each."""
    at = dict.fromkeys(TYPES, 0)
    pipeline = client.pipeline(transaction=False)
    for number in track(range(entries), description="filling the streams"):
        event_type, payload = entry(number)
        at[event_type] += 1
        fields = ("events", payload, "n", 1, "at", at[event_type])
        pipeline.execute_command("XADD", KEYS.streams[event_type], "*", *fields)
        if number % 2000 == 1999:
            pipeline.execute()
    pipeline.execute()


def write(url: str, entries: int, directory: Path) -> dict[str, float]:
    """Let a worker write everything; returns its figures."""
    command = [sys.executable, "-m", "bench.drain_worker", url, PARTITION, str(entries), str(directory), _INI]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def replay(url: str, ini: Path, into: Path, start: str = "-") -> tuple[dict[str, Any], Run]:
    """Replay everything since a time by the command; returns what it says, and what it took."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "worker", "replay", "--config", str(ini), "--redis", url]
    done = subprocess.run(
        [*command, "--from", start, "--into", str(into), "--json"], check=True, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), Run(cpu, wall)


def data_files(path: Path, event_type: str) -> Iterator[Path]:
    """Yield the accounting files of a type."""
    yield from (file for file in path.rglob(f"{TAGS[event_type]}.*") if file.suffix != ".json")


def rows_of(path: Path, event_type: str) -> tuple[int, str]:
    """Return number and digest of all rows of a type, sorted, without the header lines."""
    rows = [row for file in data_files(path, event_type) for row in file.read_bytes().splitlines(keepends=True)[1:]]
    rows.sort()
    return len(rows), hashlib.sha256(b"".join(rows)).hexdigest()


def digest_of_files(path: Path) -> str:
    """Return the digest of every file below a directory, names and manifests included."""
    found = sorted(file for file in path.rglob("*") if file.is_file())
    lines = (f"{file.relative_to(path)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in found)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Comparison:
    """What the worker wrote, and what became of it in each replay."""

    def __init__(self, live: Path) -> None:
        """Read a worker's directory, and delete it."""
        self._rows = {event_type: rows_of(live, event_type) for event_type in TYPES}
        self._files = sum(1 for event_type in TYPES for _ in data_files(live, event_type))
        self._replayed: list[tuple[dict[str, tuple[int, str]], str, int]] = []
        shutil.rmtree(live)

    def add(self, into: Path, files: int) -> None:
        """Read what a replay wrote, and delete it."""
        self._replayed.append(({name: rows_of(into, name) for name in TYPES}, digest_of_files(into), files))
        shutil.rmtree(into)

    @property
    def is_same(self) -> bool:
        """Tell whether all rows came back, and every replay made the same files."""
        trees = {tree for _, tree, _ in self._replayed}
        return len(trees) == 1 and all(rows == self._rows for rows, _, _ in self._replayed)

    def lines(self) -> Iterator[str]:
        """Yield what was compared, with what came out."""
        total = sum(count for count, _ in self._rows.values())
        times = len(self._replayed)
        yield f"{total:,} rows in {self._files} files of a worker were deleted, and the range replayed {times} times:"
        for event_type, (count, digest) in self._rows.items():
            same = all(rows[event_type] == (count, digest) for rows, _, _ in self._replayed)
            what = "byte-identical to the worker's" if same else "DIFFERENT from the worker's"
            yield f"  {event_type}: {count:,} rows without header lines, sorted: {what}, sha256 {digest}"
        trees, counts = {tree for _, tree, _ in self._replayed}, {files for _, _, files in self._replayed}
        what = "identical files under identical names" if len(trees) == 1 else "DIFFERENT files or names"
        yield f"  every replay: {what}, manifests too: {'/'.join(map(str, counts))} files, sha256 {' '.join(trees)}"


class Costs:
    """What workers and replays took."""

    def __init__(self, events: int) -> None:
        self._events = events
        self.workers: list[dict[str, float]] = []
        self.replays: list[Run] = []
        self.startups: list[Run] = []  # a replay of an empty range

    def table(self) -> Table:
        """Return medians, and CPU of each run."""
        gross = [run.cpu / self._events * 1e6 for run in self.replays]
        pairs = zip(self.replays, self.startups, strict=True)
        net = [(run.cpu - nothing.cpu) / self._events * 1e6 for run, nothing in pairs]
        table = Table("", "events/s of one core", "CPU µs/event", "of each run", "events/s by the clock")
        by_clock = statistics.median(self._events / run.wall for run in self.replays)
        _add(table, "replay", gross, by_clock)
        _add(table, "replay without its start-up", net)
        table.add_row("target", f"{_TARGET:,}", f"{1e6 / _TARGET:.2f}")
        worker = [each["cpu_us"] for each in self.workers]
        _add(
            table, "the worker, without its start-up", worker, statistics.median(each["rate"] for each in self.workers)
        )
        return table


def _add(table: Table, what: str, cpu_us: Sequence[float], rate: float | None = None) -> None:
    middle = statistics.median(cpu_us)
    each = " ".join(f"{one:.2f}" for one in cpu_us)
    table.add_row(what, f"{1e6 / middle:,.0f}", f"{middle:.2f}", each, f"{rate:,.0f}" if rate else "")


def measure(url: str, client: Any, rows: int, work: Path) -> tuple[Costs, Comparison]:
    """Write and replay by turns."""
    costs = Costs(rows)
    comparisons: list[Comparison] = []
    for turn in range(_RUNS):
        reset(client)
        live, into = work / f"live-{turn}", work / f"replay-{turn}"
        costs.workers.append(write(url, rows, live))
        comparisons.append(Comparison(live / "files"))
        ini = live / "accounting_files.ini"
        costs.startups.append(replay(url, ini, work / "nothing", start=_LATER)[1])
        told, run = replay(url, ini, into)
        costs.replays.append(run)
        comparisons[0].add(into, len(told["files"]))
    return costs, comparisons[0]


def main() -> None:
    """Fill, write, delete, replay, compare, print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name, Valkey(Path(name) / "server") as server:
        client = server.client()
        fill(client, options.rows)
        costs, comparison = measure(server.url, client, options.rows, Path(name))
    console = Console(width=140)
    console.print(f"{options.rows:,} events of one row, files of {_MAX_SIZE_MB} MB; median of {_RUNS} runs")
    console.print(costs.table())
    for line in comparison.lines():
        console.print(line, highlight=False, soft_wrap=True)
    sys.exit(not comparison.is_same)


if __name__ == "__main__":
    main()
