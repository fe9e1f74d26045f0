"""What a deep audit of one type looks at: the files, the events, and what of them cannot be seen. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from msgspec import Struct

from worker.audit.deep.files import Chosen
from worker.audit.deep.forgotten import Rewritten
from worker.audit.deep.forms import Forms
from worker.audit.deep.layout import Layout, Shape, layouts_of_open
from worker.audit.deep.sides import Sides, Sight, Written
from worker.audit.directory import Files, View
from worker.audit.server import elsewhere
from worker.inventory import Stored
from worker.manifest import Manifest
from worker.records import id_order
from worker.replay.span import Span
from worker.settings import Format, RowSettings
from worker.stream.snapshot import Indexes, Snapshot


class Choice(Struct, frozen=True, kw_only=True):
    """The files that may hold rows of a span, and how its events are told apart and rendered."""

    type: str
    files: Sequence[Chosen]
    expired: Sequence[Manifest]  # files that would have to be looked at too
    rows_elsewhere: int  # in directories that cannot be seen, of any time
    forms: Forms
    rewritten: Rewritten
    sides: Sides
    expected: Span  # the range, as far as workers have read the stream

    @property
    def known(self) -> Span:
        """Return the span that holds the range, and the events of all rows that stand in the files."""
        spans = [self.expected, *(ids_of(file.stored) for file in self.files)]
        spans = [each for each in spans if not each.is_empty] or [self.expected]
        return Span(min((each.start for each in spans), key=id_order), max((each.end for each in spans), key=id_order))


class Moment(Struct, frozen=True, kw_only=True):
    """What there was at the moment of the audit."""

    snapshot: Snapshot
    settled: Mapping[str, Indexes]  # by type: events whose dead letters had left
    views: Sequence[View]
    first_lines: Mapping[Path, bytes]  # of open files that have rows


def choose(event_type: str, span: Span, rows: RowSettings, moment: Moment) -> Choice:
    """Return what to look at. Raises NotAudited where files are in a layout that this version does not know."""
    snapshot, views = moment.snapshot, moment.views
    of_type = [files for view in views for files in view.of_type(event_type)]
    layouts = _Layouts(event_type, rows, moment)
    files = [Chosen(each.place, stored, layouts.shape_of(stored)) for each in of_type for stored in _within(each, span)]
    expired = [manifest for each in of_type for manifest in each.expired if _may_hold(manifest, span)]
    hidden = elsewhere(snapshot, {view.id for view in views}).values()
    rows_elsewhere = sum(counts.get(event_type, 0) for counts in hidden)
    stream = snapshot.streams[event_type]
    pending = frozenset(each.id.encode() for each in stream.pending)
    written = Written(
        stream.last_delivered, pending, _both(snapshot.letters[event_type].indexes, moment.settled[event_type])
    )
    sight = Sight([ids_of(file.stored) for file in files], [ids_of(each) for each in expired], rows_elsewhere > 0)
    rewritten = Rewritten(files)
    return Choice(
        type=event_type,
        files=files,
        expired=expired,
        rows_elsewhere=rows_elsewhere,
        forms=Forms(event_type, layouts.found or [layouts.configured], rows, rewritten),
        rewritten=rewritten,
        sides=Sides(span, written, sight),
        expected=Span(span.start, min(span.end, stream.last_delivered, key=id_order)),
    )


class _Layouts:
    """The layouts of the files of one type, as they are asked for."""

    def __init__(self, event_type: str, rows: RowSettings, moment: Moment) -> None:
        self._type = event_type
        self._rows = rows
        self._moment = moment
        self.configured = Layout.configured(rows, event_type)
        self.found: list[Layout] = []  # each once

    def shape_of(self, stored: Stored) -> Shape:
        """Return the shape of a file, after noting the layouts that it may have."""
        described = stored.manifest or stored.series
        layouts = [Layout.of(described, self._rows)] if described else self._of_open(stored)
        self.found += (each for each in layouts if each not in self.found)
        return layouts[0].shape

    def _of_open(self, stored: Stored) -> list[Layout]:
        return list(layouts_of_open(self._moment.first_lines.get(stored.path, b""), self._known, self.configured))

    @cached_property
    def _known(self) -> list[Layout]:
        """Return the layouts of all files that were ever sealed, each once."""
        of_type = [files for view in self._moment.views for files in view.of_type(self._type)]
        manifests = [stored.manifest for files in of_type for stored in files.sealed if stored.manifest]
        manifests += (manifest for files in of_type for manifest in files.expired)
        known = (each for each in manifests if each.format in set(Format))
        return list(dict.fromkeys(Layout.of(manifest, self._rows) for manifest in known))


def _both(letters: Indexes, settled: Indexes) -> Indexes:
    """Return the events of dead letters that stand, and of those that left: no file has rows of them."""
    return {entry_id: letters.get(entry_id, set()) | settled.get(entry_id, set()) for entry_id in letters | settled}


def ids_of(file: Stored | Manifest) -> Span:
    """Return the ids between which all rows of a file are."""
    return Span(file.first_id or "0-0", file.last_id or "0-0")


def _within(files: Files, span: Span) -> Iterator[Stored]:
    return (stored for stored in (*files.sealed, *files.open) if _may_hold(stored, span))


def _may_hold(file: Stored | Manifest, span: Span) -> bool:
    """Tell whether a file may have rows of a span."""
    ids = ids_of(file)
    return file.rows > 0 and id_order(ids.start) <= id_order(span.end) and id_order(span.start) <= id_order(ids.end)
