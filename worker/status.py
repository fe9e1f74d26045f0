"""How `haraka-accounting status` shows a partition to people."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from worker.stream.inspection import ConsumerStatus, PartitionStatus
from worker.stream.keys import COUNTERS


def show(status: PartitionStatus, console: Console) -> None:
    """Print the tables: streams, ledger, consumers with their open files."""
    console.print(_streams(status))
    console.print(_consumers(status))
    console.print(_open_files(status))
    if status.dead_letters:
        console.print(f"{status.dead_letters} dead letters", style="bold red")


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
