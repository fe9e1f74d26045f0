"""`haraka-accounting replay --live`: workers write a part of the streams again, and its rows stand twice."""

import sys
from collections.abc import Iterator, Mapping, Sequence

import click

from worker.commands.options import server_of
from worker.commands.progress import progress
from worker.commands.replayed import warn_of
from worker.commands.terminal import tell, tell_json
from worker.decode import Decoder, RawEntry
from worker.replay.sources import missing
from worker.replay.span import Span, before
from worker.settings import Settings
from worker.stream.rewind import Again, Delivered, Rewinder, RowsOf, rewinder


def rewind_live(settings: Settings, types: Sequence[str], span: Span, *, yes: bool, as_json: bool) -> None:
    """Put the group back to the beginning of a span, after saying what that means and asking."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: --yes puts the group back without a question")
    with rewinder(*server_of(settings)) as rewinding:
        rewinding.check_idle()
        warn_of(lack for event_type in types if (lack := missing(rewinding.ranges, event_type, span)))
        found = _look(rewinding, {name: _rows_of(name, settings) for name in types}, span)
        if found and not yes:
            for line in _prospect(found):
                tell(line, err=True)
            click.confirm("Put the group back?", abort=True, err=True)
        again = rewinding.run(found) if found else []
    _tell(again, as_json=as_json)


def _rows_of(event_type: str, settings: Settings) -> RowsOf:
    """Return what counts the rows of entries as a worker would write them, now."""
    decode = Decoder(event_type, settings.rows.columns[event_type]).decode

    def rows_of(entries: Sequence[RawEntry]) -> int:
        return sum(len(event.rcpts) for events in decode(entries).events for event in events)

    return rows_of


def _look(rewinding: Rewinder, types: Mapping[str, RowsOf], span: Span) -> list[Delivered]:
    """Count what would be written again."""
    count = 0
    with progress("counting", "events", None) as tell:

        def add(events: int) -> None:
            nonlocal count
            count += events
            tell(count, count)

        found = [rewinding.look(event_type, before(span.start), rows_of, add) for event_type, rows_of in types.items()]
    return [each for each in found if each]


def _prospect(found: Sequence[Delivered]) -> Iterator[str]:
    counts = ", ".join(f"{each.event_type} {each.rows:,}" for each in found)
    yield f"Workers will write {sum(each.rows for each in found):,} rows again ({counts}), and they will stand twice."
    pending = sum(each.pending for each in found)
    if pending:
        once = sum(each.pending_rows for each in found)
        yield f"Besides, {pending:,} entries are still pending; their {once:,} rows will be written once."


def _tell(again: Sequence[Again], *, as_json: bool) -> None:
    if as_json:
        tell_json([each._asdict() for each in again])
        return
    for each in again:
        tell(
            f"{each.event_type}: {each.rows:,} rows of {each.events:,} events are written again and stand twice; "
            f"{each.pending_rows:,} rows of {each.pending:,} pending entries are written once"
        )
    tell("Start the workers now." if again else "Nothing was delivered since then: nothing is written again.")
