"""What a replay or an export has done, told once at its end; what is missing or dead is told, too."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

import msgspec

from schemas.events import TYPES
from worker.commands import text
from worker.commands.terminal import tell, tell_json
from worker.records import id_order
from worker.replay.exports import Export
from worker.replay.holes import Hole, Incomplete
from worker.replay.job import Tally
from worker.replay.sources import Missing, Source, StreamSource
from worker.replay.span import Span, milliseconds_of
from worker.stream.clock import Ahead

_SHOWN = 20  # dead events; JSON has more


class Report:
    """Tells what came of a source."""

    def __init__(self, source: Source, span: Span, ahead: Sequence[Ahead] = (), *, ends_by_time: bool = False) -> None:
        """Take what was read; `ahead` are the streams among it whose ids are ahead of the server's clock."""
        self._streams = source if isinstance(source, StreamSource) else None
        self._span = span
        self._ahead = ahead
        self._left_out = [each for each in ahead if ends_by_time and id_order(span.end) < id_order(each.id)]

    def show(self, tally: Tally, *, as_json: bool) -> None:
        """Print what was written: to standard output, and what is missing to standard error too.

        Raises Incomplete where events went while they were read, or from the midst of the range.
        """
        self._warn()
        if as_json:
            tell_json(self._range() | _facts(tally))
        else:
            self._show(tally)
        self._check()

    def _show(self, tally: Tally) -> None:
        shown = text.table("type", "rows", "bytes", "sha256", "", "file", right=frozenset({"rows", "bytes"}))
        for file in tally.files:
            unchanged = "unchanged" if file.unchanged else ""
            text.add_row(shown, file.type, file.rows, file.bytes, file.sha256, unchanged, file.path)
        if tally.files:
            text.show(shown)
        tell(self._summary(f"{tally.events:,} events, {tally.rows:,} rows in {len(tally.files):,} files"))
        _show_dead(tally)

    def show_export(self, export: Export, to: str, *, as_json: bool, err: bool) -> None:
        """Print what was exported; to standard error where the export itself went to standard output.

        Raises Incomplete, likewise.
        """
        self._warn()
        facts = {"file": to, "entries": export.entries, "unchanged": export.unchanged}
        unchanged = ", unchanged" if export.unchanged else ""
        summary = self._summary(f"{export.entries:,} entries in {to}{unchanged}")
        if as_json:
            tell_json(self._range() | facts, err=err)
        else:
            tell(summary, err=err)
        self._check()

    def _warn(self) -> None:
        warn_ahead(self._ahead)
        if self._streams:
            warn_of(self._streams.missing)
            for hole in self._streams.holes:
                tell(f"warning: {_gone(hole)}", err=True)

    def _check(self) -> None:
        if self._streams and self._streams.holes:
            counts = [hole.events for hole in self._streams.holes]
            told = f"{sum(filter(None, counts)):,}{' or more' if None in counts else ''}"
            raise Incomplete(f"incomplete: {told} events of the range are missing in what was written")
        if self._left_out:
            types = ", ".join(each.type for each in self._left_out)
            raise Incomplete(
                f"incomplete: nobody can tell which entries of {types} arrived before the end of the range: "
                "their ids are ahead of the server's clock; let it end with an id, or with +"
            )

    def _edges(self) -> tuple[str, str] | None:
        """Return the first and the last id that there was, over all types."""
        if self._streams is None or not self._streams.edges:
            return None
        edges = self._streams.edges.values()
        first = min((first.id for first, _ in edges), key=id_order)
        return first, max((last.id for _, last in edges), key=id_order)

    def _range(self) -> dict[str, Any]:
        first, last = self._edges() or (None, None)
        missing, holes = (self._streams.missing, self._streams.holes) if self._streams else ([], [])
        ends = {"from": self._span.start, "to": self._span.end, "first_id": first, "last_id": last}
        return ends | {"missing": missing, "holes": holes, "ahead": self._ahead}

    def _summary(self, done: str) -> str:
        is_repeatable = self._streams and self._streams.is_repeatable and not self._streams.holes
        edges = self._edges() if is_repeatable else None
        return f"{done}; again the same with --from {edges[0]} --to {edges[1]}" if edges else done


def warn_of(missing: Iterable[Missing]) -> None:
    """Say on standard error what cannot be replayed any more."""
    for lack in missing:
        tell(f"warning: {_lack(lack)}", err=True)


def warn_ahead(ahead: Iterable[Ahead], types: Container[str] = TYPES) -> None:
    """Say on standard error which ids do not tell when their entries arrived."""
    for each in ahead:
        if each.type in types:
            tell(f"warning: {each}", err=True)


def _lack(lack: Missing) -> str:
    if lack.first_id is None:
        return f"{lack.type}: the stream is empty, though {lack.events:,} events were published"
    since = text.instant(milliseconds_of(lack.first_id))
    return (
        f"{lack.type}: the stream begins at {lack.first_id} ({since} UTC); "
        f"{lack.events:,} events before it were trimmed and cannot be replayed"
    )


def _gone(hole: Hole) -> str:
    events = "an unknown number of" if hole.events is None else f"{hole.events:,}"
    return (
        f"{hole.type}: {events} events between {hole.from_id} and {hole.to_id} are gone, "
        "trimmed or deleted before they could be read"
    )


def _facts(tally: Tally) -> dict[str, Any]:
    counts = {name: getattr(tally, name) for name in ("entries", "events", "rows", "dead")}
    files = [msgspec.structs.asdict(file) | {"path": str(file.path)} for file in tally.files]
    return counts | {"files": files, "dead_events": tally.listed}


def _show_dead(tally: Tally) -> None:
    if not tally.dead:
        return
    tell(f"{tally.dead:,} events could not become rows (index -1: all of an entry)")
    shown = text.table("type", "entry", "index", "bytes", "error", right=frozenset({"index", "bytes"}))
    for each in tally.listed[:_SHOWN]:
        text.add_row(shown, *msgspec.structs.astuple(each))
    text.show(shown)
    if tally.dead > _SHOWN:
        tell(f"only the first {_SHOWN}; --json has the first {len(tally.listed):,}")
