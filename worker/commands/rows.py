"""How rows are shown: a line each for people, or JSON with every column."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from worker.commands import streams, terminal, text
from worker.reading.parse import MISSING
from worker.reading.search import Row
from worker.reading.timeline import Attempt, Story, first_value, stories

_STYLES = {"delivered": "green", "deferred": "yellow", "bounce": "red"}
_SHOWN = ("timeLogged", "rcpt", "jobId", "dsnStatus", "dsnMsg")


def write_rows(rows: Iterable[Row], *, as_json: bool) -> int:
    """Write rows to standard output as they come; returns how many."""
    write = _write_json if as_json else _write
    count = 0
    for row in rows:
        write(row)
        count += 1
    streams.flush()
    return count


def _write_json(row: Row) -> None:
    values = {name: None if value == MISSING else value for name, value in row.values.items()}
    terminal.put_json({"type": row.event_type, "file": row.file, "row": values})


def _write(row: Row) -> None:
    """Write the columns that matter most, as far as the file has them; all of them where it has none of these."""
    columns = [column for column in _SHOWN if column in row.values] or list(row.values)
    cells = "".join(f"  {row.values[column]}" for column in columns)
    terminal.put(cells, f"{row.event_type:9}", _STYLES[row.event_type])


def write_timeline(rows: Sequence[Row]) -> None:
    """Write what became of a message, by recipient; the rows are in order of time."""
    if not rows:
        return
    told = stories(rows)
    facts = {"queued": told[0].queued, "from": first_value(rows, ("orig",)), "recipients": str(len(told))}
    shown = "  ".join(f"{name} {value}" for name, value in facts.items() if value != MISSING)
    terminal.tell(f"{rows[0].values['jobId']}  {shown}", bold=True)
    text.show(_table(told))


def _table(told: Sequence[Story]) -> Table:
    shown = text.table(
        "recipient", "time", "since queued", "what", "host", "status", "message", right=frozenset({"since queued"})
    )  # fmt: skip
    for story in told:
        for index, attempt in enumerate(story.attempts):
            text.add_row(shown, "" if index else story.rcpt, *_cells(attempt), style=_STYLES[attempt.outcome])
    return shown


def _cells(attempt: Attempt) -> Sequence[str]:
    since = attempt.since_queued_seconds
    elapsed = MISSING if since is None else _elapsed(since)
    return (attempt.when, elapsed, attempt.outcome, attempt.host, attempt.status, attempt.message)


def _elapsed(seconds: int) -> str:
    """Return a time span as people read it: 1 d 02:03:04."""
    sign, seconds = "-" if seconds < 0 else "+", abs(seconds)
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{sign}{days} d {clock}" if days else f"{sign}{clock}"
