"""`haraka-accounting replay --live`: workers write a part of the streams again, and its rows stand twice."""

import sys
from collections.abc import Sequence

import click

from worker.commands import text
from worker.commands.options import Server
from worker.commands.progress import progress
from worker.commands.replayed import warn
from worker.replay.sources import missing
from worker.replay.span import Span, before
from worker.stream.rewind import Again, Delivered, Rewinder, rewinder


def rewind_live(server: Server, types: Sequence[str], span: Span, *, yes: bool, as_json: bool) -> None:
    """Put the group back to the beginning of a span, after saying what that means and asking."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: --yes puts the group back without a question")
    with rewinder(*server) as rewinding:
        rewinding.check_idle()
        warn(lack for event_type in types if (lack := missing(rewinding.ranges, event_type, span)))
        found = _look(rewinding, types, span)
        if found and not yes:
            click.echo(_prospect(found), err=True)
            click.confirm("Put the group back?", abort=True, err=True)
        again = rewinding.run(found) if found else []
    _tell(again, as_json=as_json)


def _look(rewinding: Rewinder, types: Sequence[str], span: Span) -> list[Delivered]:
    """Count what would be written again."""
    count = 0
    with progress("counting", "events", None) as tell:

        def add(events: int) -> None:
            nonlocal count
            count += events
            tell(count, count)

        found = [rewinding.look(event_type, before(span.start), add) for event_type in types]
    return [each for each in found if each]


def _prospect(found: Sequence[Delivered]) -> str:
    counts = ", ".join(f"{each.event_type} {each.events:,}" for each in found)
    total = sum(each.events for each in found)
    return (
        f"Workers will write {total:,} events again ({counts}).\n"
        "Their rows will stand twice in the files, but for entries that are still pending, which are written once."
    )


def _tell(again: Sequence[Again], *, as_json: bool) -> None:
    if as_json:
        click.echo(text.as_json([each._asdict() for each in again]))
        return
    for each in again:
        click.echo(
            f"{each.event_type}: {each.events:,} events are written again and stand twice; "
            f"{each.pending:,} pending entries are written once"
        )
    click.echo("Start the workers now." if again else "Nothing was delivered since then: nothing is written again.")
