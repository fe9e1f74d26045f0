"""`haraka-accounting find`: rows of a recipient, message or domain, over open, archived and compressed files."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

import click

from worker.commands.library import Library, exit_code, on_library, warn_of_troubles, where_option
from worker.commands.options import json_option
from worker.commands.rows import write_rows, write_timeline
from worker.reading.criteria import Criteria, Criterion, Rule
from worker.reading.search import Search, Span
from worker.replay.span import milliseconds_of, start_of


@click.command(name="find")
@on_library
@click.option(
    "--rcpt", metavar="ADDRESS", help="Rows of this recipient, in any case of letters, and any spelling of the domain."
)
@click.option("--job-id", "--jobId", "job_id", metavar="ID", help="Rows of this message, shown as a timeline.")
@click.option(
    "--domain", metavar="DOMAIN",
    help="Rows of recipients in exactly this domain, in any spelling; .DOMAIN: in it and below it.",
)  # fmt: skip
@where_option
@click.option("--from", "start", metavar="TIME", help="Only rows logged then or later.")
@click.option("--to", "end", metavar="TIME", help="Only rows logged before that.")
@json_option
def find_command(  # noqa: PLR0913 - one parameter an option
    library: Library, *, rcpt: str | None, job_id: str | None, domain: str | None, conditions: Sequence[Criterion],
    start: str | None, end: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Find rows in order of time. Changes nothing, and is safe while workers run.

    A row must show everything that is asked for. TIME is ISO 8601 (in the configured time zone, or with one of its
    own) or as long ago as 90m, 2h, 7d. With --json, one object a line, with every column. Exit code 1: nothing found;
    74: nothing found, and not everything could be looked at.
    """
    asked = [
        *([Criterion("rcpt", rcpt.removeprefix("<").removesuffix(">"), Rule.ADDRESS)] if rcpt else []),
        *([Criterion("jobId", job_id)] if job_id else []),
        *([Criterion("rcpt", domain.removeprefix("@"), Rule.DOMAIN)] if domain else []),
        *conditions,
    ]
    if not asked:
        raise click.UsageError("expected --rcpt, --job-id, --domain or --where")
    zone = library.settings.rows.timezone
    span = Span(_second("--from", start, zone), _second("--to", end, zone))
    search = Search(Criteria(tuple(asked)), span, library.settings.rows)
    rows = search.rows([(found, 0) for found in library.files() if search.touches(found)])
    if job_id and not as_json:
        timeline = list(rows)
        write_timeline(timeline)
        count = len(timeline)
    else:
        count = write_rows(rows, as_json=as_json)
    warn_of_troubles(search)
    sys.exit(exit_code(count, library, search))


def _second(option: str, text: str | None, timezone: tzinfo) -> int | None:
    if text is None:
        return None
    try:
        return milliseconds_of(start_of(text, timezone, datetime.now(UTC))) // 1000
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
