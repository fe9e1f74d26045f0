"""Whether a replay gives everything back, and how fast: `python -m bench.replay`.

Fills the three streams of a real Valkey, lets a worker write them with rotations, and takes a digest of the sorted rows
of each type. Then the directory is deleted, and the range replayed twice, by the command itself: rows have to be the
same, files, names and manifests of both runs too. Prints events per second of CPU of the whole command (start-up
included), that of the worker beside it, and the digests. Ends with 1 where something differs.
"""

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.drain import KEYS, PARTITION, event, reset
from bench.valkey import Valkey
from schemas.events import TAGS, TYPES

_MAX_SIZE_MB = 20
_INI = f"archiving = true\nmax_size = {_MAX_SIZE_MB}\n"
_FAILED = {"dsnStatus": "4.2.2", "dsnAction": "delayed", "dsnMsg": "mailbox full, try again later"}


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


def replay(url: str, ini: Path, into: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Replay everything; returns what the command says, and its figures."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "worker", "replay", "--config", str(ini), "--redis", url]
    done = subprocess.run(
        [*command, "--from", "-", "--into", str(into), "--json"], check=True, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return told, {"rate": told["events"] / wall, "cpu_us": cpu / told["events"] * 1e6}


def data_files(path: Path, event_type: str) -> Iterator[Path]:
    """Yield the accounting files of a type."""
    yield from (file for file in path.rglob(f"{TAGS[event_type]}.*") if file.suffix != ".json")


def digest_of_rows(path: Path, event_type: str) -> str:
    """Return the digest of all rows of a type, sorted, without the header lines."""
    rows = [row for file in data_files(path, event_type) for row in file.read_bytes().splitlines(keepends=True)[1:]]
    rows.sort()
    return hashlib.sha256(b"".join(rows)).hexdigest()


def digest_of_files(path: Path) -> str:
    """Return the digest of every file below a directory, names and manifests included."""
    found = sorted(file for file in path.rglob("*") if file.is_file())
    lines = (f"{file.relative_to(path)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in found)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def main() -> None:
    """Fill, write, delete, replay twice, compare, print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    options = arguments.parse_args()
    speed = Table("", "events/s of CPU", "CPU µs/event", "events/s", "files")
    with tempfile.TemporaryDirectory() as name, Valkey(Path(name) / "server") as server:
        work = Path(name)
        client = server.client()
        fill(client, options.rows)
        reset(client)
        live = work / "live"
        figures = {"worker": write(server.url, options.rows, live)}
        before = {event_type: digest_of_rows(live / "files", event_type) for event_type in TYPES}
        counts = {"worker": sum(1 for each in TYPES for _ in data_files(live / "files", each))}
        shutil.rmtree(live / "files")
        runs = [work / "one", work / "two"]
        for into in runs:
            told, figures[f"replay {into.name}"] = replay(server.url, live / "accounting_files.ini", into)
            counts[f"replay {into.name}"] = len(told["files"])
        after = {event_type: digest_of_rows(runs[0], event_type) for event_type in TYPES}
        trees = [digest_of_files(into) for into in runs]
    for what, each in figures.items():
        rate, cpu_us = f"{each['rate']:,.0f}", f"{each['cpu_us']:.2f}"
        speed.add_row(what, f"{1e6 / each['cpu_us']:,.0f}", cpu_us, rate, f"{counts[what]}")
    console = Console(width=120)
    console.print(f"{options.rows:,} rows, files of {_MAX_SIZE_MB} MB")
    console.print(speed)
    for event_type in TYPES:
        same = "same rows" if before[event_type] == after[event_type] else "DIFFERENT"
        console.print(f"{event_type:9} {same}  {after[event_type]}", highlight=False)
    console.print(f"files     {'same twice' if trees[0] == trees[1] else 'DIFFERENT'} {trees[0]}", highlight=False)
    sys.exit(before != after or trees[0] != trees[1])


if __name__ == "__main__":
    main()
