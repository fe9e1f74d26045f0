"""`haraka-accounting tail`: the last rows, and with -f each new one as it is committed."""

import sys
from collections.abc import Sequence

import click

from worker.commands import streams
from worker.commands.library import Library, exit_code, on_library, warn_of_troubles, where_option
from worker.commands.options import json_option
from worker.commands.rows import write_rows
from worker.commands.terminal import warn
from worker.errors import ExitCode, StreamUnavailable, Unreadable
from worker.reading.criteria import Criteria, Criterion
from worker.reading.follow import Follower
from worker.reading.last import last_rows
from worker.reading.search import Found, Search, Span

_POLL_MS = 500


@click.command(name="tail")
@on_library
@click.option("-n", "count", type=click.IntRange(0, 100_000), default=10, show_default=True, help="So many rows.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new rows as workers commit them, until stopped.")
@where_option
@json_option
def tail_command(library: Library, *, count: int, follow: bool, conditions: Sequence[Criterion], as_json: bool) -> None:
    """Show the last rows in order of time. Changes nothing, and is safe while workers run.

    -f shows each row once, while files rotate and are archived, compressed or removed; rows that are committed
    together are in order of time. With --json, one object a line, with every column. Exit code 74: there was nothing to
    show, and not everything could be looked at.
    """
    search = Search(Criteria(tuple(conditions)), Span(), library.settings.rows)
    if not follow:
        shown = _show_last(search, library.files(), count, as_json=as_json)
        if exit_code(shown, library, search) is ExitCode.UNAVAILABLE:  # that there are no rows is no failure
            sys.exit(ExitCode.UNAVAILABLE)
        return
    if library.records is None:
        raise Unreadable(f"{library.settings.directory.path}: no worker has used this directory: nothing to follow")
    follower = Follower(library.places, library.read_records)
    try:
        files = follower.begin()
        library.leave_out(*follower.bad)
        _show_last(search, files, count, as_json=as_json)
        _follow(library, search, follower, as_json=as_json)
    except KeyboardInterrupt:
        return


def _show_last(search: Search, files: Sequence[Found], count: int, *, as_json: bool) -> int:
    latest = last_rows(search, files, count, filtered=search.is_choosy)
    shown = write_rows((search.row(found, match) for found, match in latest), as_json=as_json)
    warn_of_troubles(search)
    return shown


def _follow(library: Library, search: Search, follower: Follower, *, as_json: bool) -> None:
    """Show what is committed from now on; ends when nobody reads it any more."""
    reader = streams.reader()
    is_away = False
    while not reader.poll(_POLL_MS):
        try:
            grown = follower.poll()
        except StreamUnavailable as error:
            if not is_away:
                warn(f"the server is away: {error}; rows follow when it is back")
            is_away = True
            continue
        is_away = False
        library.leave_out(*follower.bad)
        write_rows(search.rows(grown), as_json=as_json)
        warn_of_troubles(search)
