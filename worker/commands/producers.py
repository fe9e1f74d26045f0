"""`haraka-accounting producers`: the processes of Haraka that publish, and how they fare."""

from typing import Any

import click
from rich.table import Table

from worker.commands import terminal, text
from worker.commands.options import Server, json_option, on_server
from worker.stream.producers import Note, Producer, read_producers

_FIGURES = ("published", "batches", "spooled", "spool_bytes", "drained", "dropped", "unsafe", "skipped")
_LATENCIES = ("latency_ms", "latency_max_ms")
_HEADINGS = {"spool_bytes": "spool backlog", "latency_ms": "latency ms", "latency_max_ms": "longest ms"}
_UNREADABLE = "unreadable note"


@click.command(name="producers")
@on_server
@json_option
def producers_command(server: Server, *, as_json: bool) -> None:
    """Show the processes of Haraka: last batch, spool backlog, drops. Changes nothing.

    The last batch is by the server's clock, the note by the node's. Counts are events since the process started. What
    is brought for dead processes is counted where it is done; "claimed" stands for the backlog of those.
    """
    found = read_producers(server.connect, server.partition)
    if as_json:
        terminal.tell_json(found)
    else:
        text.show(_table(found))


def _table(producers: list[Producer]) -> Table:
    figures = [_HEADINGS.get(name, name) for name in (*_FIGURES, *_LATENCIES)]
    shown = text.table(
        "node", "producer", "pid", "last seq", "last batch", "note", *figures,
        right=frozenset({"pid", "last seq", *figures}),
    )  # fmt: skip
    for producer in sorted(producers, key=lambda each: (_node(each), each.name)):
        note = producer.note or Note()
        losing = (note.dropped or 0) > 0
        text.add_row(shown, *_cells(producer, note), style="red" if losing else "")
    return shown


def _node(producer: Producer) -> str:
    if producer.note_is_unreadable:
        return _UNREADABLE
    return (producer.note and producer.note.node) or text.MISSING


def _figure(producer: Producer, note: Note, name: str) -> int | str | None:
    """Return a figure, with what belongs to it of spools that were claimed."""
    own: int | None = getattr(note, name)
    if name == "drained" and note.claimed_drained is not None:
        return (own or 0) + note.claimed_drained
    if name != "spool_bytes":
        return own
    claimed = note.claimed_bytes if producer.holds else 0
    if producer.claimed_by is None:
        return own if not claimed else (own or 0) + claimed
    return claimed or "claimed"


def _cells(producer: Producer, note: Note) -> list[Any]:
    latencies = (getattr(note, name) for name in _LATENCIES)
    return [
        _node(producer),
        producer.name,
        None if note.pid is None else str(note.pid),
        producer.seq,
        text.instant(producer.seen_ms),
        text.instant(note.at),
        *(_figure(producer, note, name) for name in _FIGURES),
        *(None if ms is None else f"{ms:.2f}" for ms in latencies),
    ]
