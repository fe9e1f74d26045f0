"""`haraka-accounting status`: streams, ledger, consumers with their open files, and who holds up the trimming."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.commands import text
from worker.commands.options import config_option, json_option, load_settings, redis_option
from worker.errors import ExitCode
from worker.server import BundledServer
from worker.stream.inspection import ConsumerStatus, PartitionStatus, inspect
from worker.stream.keys import COUNTERS
from worker.stream.link import connector
from worker.stream.retention import Blocked


@click.command(name="status")
@config_option
@redis_option
@json_option
@click.option("--check", "consumer", metavar="CONSUMER", help="Print nothing; exit with 1 unless this consumer works.")
def status_command(config_file: Path | None, redis_url: str | None, consumer: str | None, *, as_json: bool) -> None:
    """Show streams, consumers, open files and the ledger. Changes nothing."""
    settings = load_settings(config_file, redis_url, None).settings
    url = settings.stream.url or BundledServer(settings.server).url
    found = inspect(connector(settings.stream, url), settings.stream.partition)
    if consumer is not None:
        sys.exit(0 if any(each.alive for each in found.consumers if each.name == consumer) else ExitCode.FAILED)
    if as_json:
        click.echo(text.as_json(found))
    else:
        _show(found, Console())


def _show(status: PartitionStatus, console: Console) -> None:
    console.print(_streams(status))
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
