"""Options that name a range of the streams and types, for the commands that read one."""

from datetime import UTC, datetime

import click

from schemas.events import TYPES
from worker.replay.span import Span, end_of, start_of
from worker.settings import Settings


def words(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return words that were given apart or with commas."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def _types(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the chosen types in the order of every listing; all where none is chosen."""
    chosen = words(context, parameter, values)
    for word in chosen:
        if word not in TYPES:
            raise click.BadParameter(f"{word!r}: expected some of {', '.join(TYPES)}")
    return tuple(name for name in TYPES if name in chosen) or TYPES


types_option = click.option(
    "--types", multiple=True, metavar="TYPE,…", callback=_types, help="Of these types only. Default: all."
)


def span_of(settings: Settings, start: str | None, end: str | None, now_ms: int | None = None) -> Span:
    """Return the span between two ends as people call them; without one, it goes to that end of the stream.

    Times ago are counted from `now_ms`, the server's time, where that is known: ids are times of the server.
    """
    now = datetime.now(UTC) if now_ms is None else datetime.fromtimestamp(now_ms / 1000, UTC)
    timezone = settings.names.timezone
    try:
        first = start_of(start or "-", timezone, now)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--from") from error
    try:
        span = Span(first, end_of(end or "+", timezone, now))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from error
    if span.is_empty:
        raise click.UsageError(f"nothing can be in it: it begins with {span.start} and ends with {span.end}")
    return span
