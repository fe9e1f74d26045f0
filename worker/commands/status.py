"""`haraka-accounting status`: streams, ledger, consumers with their open files, memory and what becomes of it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.table import Table

from worker.commands import text
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
from worker.commands.terminal import tell, tell_json
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

_STATES = {
    True: text.cell("alive"),
    False: text.cell("no lease", "red"),
    None: text.cell("its lease was evicted", "red"),
}


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
        tell_json({**msgspec.to_builtins(found), "memory": memory})
    else:
        _show(found, memory)
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


def _show(status: PartitionStatus, memory: Forecast | None) -> None:
    tables = (_streams(status), *([_memory(memory)] if memory else ()), _consumers(status), _open_files(status))
    for table in tables:
        text.show_within(table)
    for trouble in (
        *([f"{status.dead_letters} dead letters"] if status.dead_letters else ()),
        *map(_blocked, status.blocked),
        *(f"warning: {each}" for each in status.warnings),
        *(f"cannot be read: {each}" for each in status.unreadable),
    ):
        tell(trouble, colour="red", bold=True)


def _blocked(blocked: Blocked) -> str:
    held = f"{blocked.events:,} events from {blocked.since} on"
    return f"group {blocked.group} holds up the trimming of {blocked.type} by {blocked.why}: {held}"


def _streams(status: PartitionStatus) -> Table:
    table = text.framed(f"Streams of {{{status.partition}}}", "", *status.types, right=frozenset(status.types))
    kinds = status.types.values()
    counts = {
        "unread entries": [kind.unread.entries for kind in kinds],
        "unread events": [kind.unread.events for kind in kinds],
        "pending entries": [kind.pending.entries for kind in kinds],
        "pending events": [kind.pending.events for kind in kinds],
    }
    for label, values in counts.items():
        text.add_row(table, label, *values, end_section=label == "pending events")
    for counter in COUNTERS:
        text.add_row(table, f"{counter} (total)", *(kind.ledger.get(counter, 0) for kind in kinds))
    return table


def _memory(memory: Forecast) -> Table:
    table = text.framed("Memory of the server", "", "value", right=frozenset({"value"}), heads=False)
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
        text.add_row(table, label, value)
    return table


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"


def _duration(seconds: int) -> str:
    if not seconds:
        return "now"
    hours, minutes = divmod(seconds // 60, 60)
    return f"in {hours // 24} days {hours % 24} h" if hours >= 48 else f"in {hours} h {minutes} min"


def _consumers(status: PartitionStatus) -> Table:
    table = text.framed("Consumers", "consumer", "state", "directory", "commits", "last commit", "not sealed yet")
    for consumer in status.consumers:
        committed = text.instant(consumer.committed_ms, precise=True)
        text.add_row(
            table, consumer.name, _STATES[consumer.alive], consumer.directory, consumer.batch, committed,
            consumer.closing,
        )  # fmt: skip
    return table


def _open_files(status: PartitionStatus) -> Table:
    columns = ("type", "consumer and directory", "file", "rows", "bytes")
    table = text.framed("Open files", *columns, right=frozenset({"rows", "bytes"}))
    for name, kind in status.types.items():
        for owner, file in kind.open_files.items():
            text.add_row(table, name, owner, file.name, file.rows, file.length)
    return table
