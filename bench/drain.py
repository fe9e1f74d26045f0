"""How fast one worker drains a stream, with fsync and the whole protocol on: `python -m bench.drain`.

Fills the delivered stream of a real Valkey once with single-event entries of about 550 bytes. Then, for each
appendonly setting, drains it by turns with the worker and with the straightforward redis-py loop (XREADGROUP, msgspec,
join, write, XACK; no fsync, no commit record), each in a process of its own. Prints events/s, µs of CPU per event of
the reader and of the server, and the reader's peak memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.valkey import Valkey
from schemas.events import TYPES
from worker.stream.keys import GROUP, Keys

_ROOT = Path(__file__).resolve().parent.parent

PARTITION = "bench"
KEYS = Keys.of(PARTITION)
APPENDONLY = ("no", "everysec", "always")


def event(number: int) -> bytes:
    """Return the array of one delivered event, about 550 bytes, as the plugin publishes it, key by key."""
    logged = 1_795_373_309_671 + number // 100
    document = {
        "type": "d", "v": 1, "eventId": f"mx1.news.example-5f3a9c0d-{number // 100}:{number % 100}",
        "timeLogged": logged, "timeQueued": logged - 140, "node": "mx1.news.example",
        "jobId": f"9477D19A-46D2-4C56-8C5A-B3218A0A{number:08X}.1.1", "orig": f"bounce-{number:08d}@news.example",
        "queue": "destination.example", "srcMta": "app1.news.example", "srcIp": "192.0.2.10", "vmta": "pool-a",
        "attempts": 1, "rcpts": [{"rcpt": f"recipient.{number:08d}@destination.example"}], "destIp": "198.51.100.7",
        "dsnMta": "mx.destination.example", "dlvType": "smtp", "dlvDestinationPort": 25,
        "dsnMsg": f"Ok: queued as {number:010X}", "dlvTls": True, "dlvAuth": False,
    }  # fmt: skip
    return json.dumps([document], separators=(",", ":")).encode()


def fill(client: Any, entries: int) -> None:
    """Publish the entries, one event each."""
    pipeline = client.pipeline(transaction=False)
    for number in track(range(entries), description="filling the stream"):
        fields = {b"events": event(number), b"n": b"1", b"at": str(number + 1).encode()}
        pipeline.execute_command("XADD", KEYS.streams["delivered"], "*", *(x for pair in fields.items() for x in pair))
        if number % 2000 == 1999:
            pipeline.execute()
    pipeline.execute()


def reset(client: Any) -> None:
    """Put the group back to the beginning, as if nothing had ever been read."""
    for key in client.keys(f"{{{PARTITION}}}:*"):
        if key.decode() not in KEYS.streams.values():
            client.delete(key)
    for event_type in TYPES:
        key = KEYS.streams[event_type]
        if client.exists(key):
            client.execute_command("XGROUP", "DESTROY", key, GROUP)
        client.xgroup_create(key, GROUP, "0", mkstream=True)


def set_appendonly(client: Any, setting: str) -> None:
    """Configure the server's persistence and wait until a rewrite that this starts is over."""
    client.config_set("appendonly", "no" if setting == "no" else "yes")
    if setting != "no":
        client.config_set("appendfsync", setting)
    while client.info("persistence")["aof_rewrite_in_progress"] or client.info("persistence").get(
        "aof_rewrite_scheduled"
    ):
        time.sleep(0.1)


def server_cpu(client: Any) -> float:
    """Return the seconds of CPU that the server has used."""
    info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def drain(
    client: Any, reader: str, url: str, entries: int, directory: Path, *, tree: Path | None = None
) -> dict[str, float]:
    """Run one reader over the whole stream, with the worker of this tree or another one; returns its figures."""
    reset(client)
    before = server_cpu(client)
    driver = Path(__file__).with_name(f"{reader}.py")  # always ours: both trees do the same
    command = [sys.executable, "-P", str(driver), url, PARTITION, str(entries), str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(tree or _ROOT)}
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, env=environment)
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    figures["server_us"] = (server_cpu(client) - before) / entries * 1e6
    return figures


def main() -> None:
    """Fill, drain in every setting, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--entries", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=1)
    arguments.add_argument("--appendonly", nargs="*", choices=APPENDONLY, default=list(APPENDONLY))
    options = arguments.parse_args()
    table = Table(
        "appendonly", "reader", "events/s", "reader CPU µs/event", "server CPU µs/event", "peak MB", "of loop"
    )
    with tempfile.TemporaryDirectory() as work, Valkey(Path(work) / "server") as server:
        client = server.client()
        fill(client, options.entries)
        size = len(event(0))
        for setting in options.appendonly:
            set_appendonly(client, setting)
            for turn in range(options.rounds):
                rates: dict[str, float] = {}
                for reader in ("plain_loop", "drain_worker"):
                    directory = Path(work) / f"{reader}-{setting}-{turn}"
                    figures = drain(client, reader, server.url, options.entries, directory)
                    rates[reader] = figures["rate"]
                    table.add_row(
                        setting, reader, f"{figures['rate']:,.0f}", f"{figures['cpu_us']:.2f}",
                        f"{figures['server_us']:.2f}", f"{figures['peak_mb']:.0f}",
                        f"{figures['rate'] / rates['plain_loop']:.2f}",
                    )  # fmt: skip
    Console().print(f"{options.entries:,} entries of one event, {size} bytes each")
    Console().print(table)


if __name__ == "__main__":
    main()
