"""`haraka-accounting status`: streams, ledger, consumers with their open files, memory and what becomes of it."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.commands import text
from worker.commands.options import NAME_VARIABLE, config_option, json_option, load_settings, redis_option
from worker.errors import ExitCode
from worker.forecast import Forecast, forecast
from worker.server import BundledServer
from worker.stream.inspection import ConsumerStatus, PartitionStatus, inspect
from worker.stream.keys import COUNTERS
from worker.stream.link import connector
from worker.stream.memory import measure
from worker.stream.retention import Blocked


@click.command(name="status")
@config_option
@redis_option
@json_option
@click.option(
    "--check", "consumer", is_flag=False, flag_value="", metavar="[CONSUMER]",
    help="Print nothing; exit with 1 unless this consumer works. Without a name: the one that `work` has here.",
)  # fmt: skip
def status_command(config_file: Path | None, redis_url: str | None, consumer: str | None, *, as_json: bool) -> None:
    """Show streams, consumers, open files and the ledger. Changes nothing."""
    settings = load_settings(config_file, redis_url, os.environ.get(NAME_VARIABLE)).settings
    url = settings.stream.url or BundledServer(settings.server).url
    connect, partition = connector(settings.stream, url), settings.stream.partition
    found = inspect(connect, partition)
    if consumer is not None:
        name = consumer or settings.worker.name
        sys.exit(0 if any(each.alive for each in found.consumers if each.name == name) else ExitCode.FAILED)
    memory = forecast(
        measure(connect, partition), retention_days=settings.stream.retention_days,
        limit_bytes=settings.stream.max_bytes, is_blocked=bool(found.blocked),
    )  # fmt: skip
    if as_json:
        click.echo(text.as_json({**msgspec.to_builtins(found), "memory": memory}))
    else:
        _show(found, memory, Console())


def _show(status: PartitionStatus, memory: Forecast, console: Console) -> None:
    console.print(_streams(status))
    console.print(_memory(memory))
    console.print(_consumers(status))
    console.print(_open_files(status))
    if status.dead_letters:
        console.print(f"{status.dead_letters} dead letters", style="bold red")
    for blocked in status.blocked:
        console.print(_blocked(blocked), style="bold red")


def _blocked(blocked: Blocked) -> Text:
    group = text.escaped(blocked.group)
    held = f"{blocked.events:,} events from {text.escaped(blocked.since)} on"
    return Text(f"group {group} holds up the trimming of {blocked.type} by {blocked.why}: {held}")


def _streams(status: PartitionStatus) -> Table:
    table = Table(title=f"Streams of {{{status.partition}}}", title_justify="left")
    table.add_column("")
    for name in status.types:
        table.add_column(name, justify="right")
    kinds = status.types.values()
    counts = {
        "unread entries": [kind.unread.entries for kind in kinds],
        "unread events": [kind.unread.events for kind in kinds],
        "pending entries": [kind.pending.entries for kind in kinds],
        "pending events": [kind.pending.events for kind in kinds],
    }
    for label, values in counts.items():
        table.add_row(label, *(f"{value:,}" for value in values), end_section=label == "pending events")
    for counter in COUNTERS:
        table.add_row(f"{counter} (total)", *(f"{kind.ledger.get(counter, 0):,}" for kind in kinds))
    return table


def _memory(memory: Forecast) -> Table:
    table = Table(title="Memory of the server", title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    steady = "-" if memory.steady_bytes is None else _megabytes(memory.steady_bytes)
    for label, value in {
        "used": _megabytes(memory.used_bytes),
        "maxmemory": _megabytes(memory.max_bytes) if memory.max_bytes else "none",
        "streams": _megabytes(memory.streams_bytes),
        "streams once trimming keeps up": steady,
        "events published per second": f"{memory.events_per_second:,.1f}",
        "bytes of memory per event": f"{memory.bytes_per_event:,.0f}",
        "full": memory.outlook if memory.full_in_seconds is None else _duration(memory.full_in_seconds),
    }.items():
        table.add_row(label, value)
    return table


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"


def _duration(seconds: int) -> str:
    if not seconds:
        return "now"
    hours, minutes = divmod(seconds // 60, 60)
    return f"in {hours // 24} days {hours % 24} h" if hours >= 48 else f"in {hours} h {minutes} min"


def _consumers(status: PartitionStatus) -> Table:
    table = Table(title="Consumers", title_justify="left")
    for column in ("consumer", "state", "directory", "commits", "last commit", "not sealed yet"):
        table.add_column(column)
    for consumer in status.consumers:
        table.add_row(
            consumer.name,
            "alive" if consumer.alive else "[red]no lease[/red]",
            consumer.directory or "-",
            "-" if consumer.batch is None else f"{consumer.batch:,}",
            _instant(consumer),
            str(consumer.closing),
        )
    return table


def _instant(consumer: ConsumerStatus) -> str:
    if consumer.committed_ms is None:
        return "-"
    return datetime.fromtimestamp(consumer.committed_ms / 1000, UTC).isoformat(" ", "milliseconds")


def _open_files(status: PartitionStatus) -> Table:
    table = Table(title="Open files", title_justify="left")
    for column in ("type", "consumer and directory", "file", "rows", "bytes"):
        table.add_column(column, justify="right" if column in {"rows", "bytes"} else "left")
    for name, kind in status.types.items():
        for owner, file in kind.open_files.items():
            table.add_row(name, owner, file.name, f"{file.rows:,}", f"{file.length:,}")
    return table
