"""`haraka-accounting status`: streams, ledger, consumers with their open files, memory and what becomes of it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.commands import streams, text
from worker.commands.options import (
    NAME_VARIABLE,
    Server,
    config_option,
    json_option,
    load_settings,
    redis_option,
    server_now,
    server_of,
)
from worker.errors import ExitCode
from worker.forecast import Forecast, forecast
from worker.locks import is_at_work
from worker.settings import Settings
from worker.stream.clock import Ahead, read_clock
from worker.stream.inspection import PartitionStatus, inspect
from worker.stream.keys import COUNTERS
from worker.stream.link import Refused
from worker.stream.memory import measure
from worker.stream.retention import Blocked

_STATES = {True: Text("alive"), False: Text("no lease", style="red"), None: Text("its lease was evicted", style="red")}


@click.command(name="status")
@config_option
@redis_option
@json_option
@click.option(
    "--check", "consumer", is_flag=False, flag_value="", metavar="[CONSUMER]",
    help="Print nothing; exit with 1 unless this consumer works. Without a name: the one that `work` has here.",
)  # fmt: skip
def status_command(config_file: Path | None, redis_url: str | None, consumer: str | None, *, as_json: bool) -> None:
    """Show streams, consumers, open files and the ledger. Changes nothing.

    What cannot be read is named, and all else shown. Exit code 74: something could not be read, or no server answered.
    """
    settings = load_settings(config_file, redis_url, os.environ.get(NAME_VARIABLE)).settings
    lease_seconds = settings.stream.lease_seconds
    if consumer is not None:
        found = inspect(*server_now(settings), lease_seconds)
        sys.exit(0 if _works(found, consumer or settings.worker.name, settings) else ExitCode.FAILED)
    server = server_of(settings)
    found = inspect(*server, lease_seconds)
    memory = _forecast(server, settings, found)
    found.warnings.extend(str(ahead) for ahead in _ids_ahead(server, found))
    if as_json:
        click.echo(text.as_json({**msgspec.to_builtins(found), "memory": memory}))
    else:
        _show(found, memory, streams.console())
    if found.unreadable:
        sys.exit(ExitCode.UNAVAILABLE)


def _works(found: PartitionStatus, name: str, settings: Settings) -> bool:
    """Tell whether a consumer works; where the server cannot tell, whether a process has the lock on its name here."""
    alive = [each.alive for each in found.consumers if each.name == name]
    return True in alive or (None in alive and is_at_work(settings.directory.path, name))


def _ids_ahead(server: Server, found: PartitionStatus) -> Sequence[Ahead]:
    """Return the streams whose ids are ahead of the server's clock; none where that cannot be read."""
    try:
        return read_clock(*server).ahead
    except Refused as error:
        if str(error) not in found.unreadable:
            found.unreadable.append(str(error))
        return ()


def _forecast(server: Server, settings: Settings, found: PartitionStatus) -> Forecast | None:
    """Return what becomes of the server's memory, None where that cannot be measured."""
    try:
        memory = measure(*server)
    except Refused as error:
        if str(error) not in found.unreadable:
            found.unreadable.append(str(error))
        return None
    return forecast(
        memory, retention_days=settings.stream.retention_days, limit_bytes=settings.stream.max_bytes,
        is_blocked=bool(found.blocked),
    )  # fmt: skip


def _show(status: PartitionStatus, memory: Forecast | None, console: Console) -> None:
    console.print(_streams(status))
    if memory:
        console.print(_memory(memory))
    console.print(_consumers(status))
    console.print(_open_files(status))
    if status.dead_letters:
        console.print(f"{status.dead_letters} dead letters", style="bold red")
    for blocked in status.blocked:
        console.print(_blocked(blocked), style="bold red")
    for warning in status.warnings:
        console.print(Text(f"warning: {text.escaped(warning)}"), style="bold red", soft_wrap=True)
    for trouble in status.unreadable:
        console.print(Text(f"cannot be read: {text.escaped(trouble)}"), style="bold red", soft_wrap=True)


def _blocked(blocked: Blocked) -> Text:
    group = text.escaped(blocked.group)
    held = f"{blocked.events:,} events from {text.escaped(blocked.since)} on"
    return Text(f"group {group} holds up the trimming of {blocked.type} by {blocked.why}: {held}")


def _streams(status: PartitionStatus) -> Table:
    table = Table(title=Text(f"Streams of {{{text.escaped(status.partition)}}}"), title_justify="left")
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
            text.cell(consumer.name),
            _STATES[consumer.alive],
            text.cell(consumer.directory),
            text.cell(consumer.batch),
            Text(text.instant(consumer.committed_ms, precise=True)),
            text.cell(consumer.closing),
        )
    return table


def _open_files(status: PartitionStatus) -> Table:
    table = Table(title="Open files", title_justify="left")
    for column in ("type", "consumer and directory", "file", "rows", "bytes"):
        table.add_column(column, justify="right" if column in {"rows", "bytes"} else "left")
    for name, kind in status.types.items():
        for owner, file in kind.open_files.items():
            table.add_row(*map(text.cell, (name, owner, file.name, file.rows, file.length)))
    return table
