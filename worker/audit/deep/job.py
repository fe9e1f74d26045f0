"""The deep audit of one type: read the streams, read the files, compare, and look for what differs.

The streams are read before the files: an entry may be trimmed meanwhile, and then the files that begin before the first
entry that is left are not judged by rows of events that cannot be seen. A file that expires before it is read is one
that cannot be seen, like those that had expired before: rows of its segments of the stream are not missing.

In files that begin before the stream, rows that no event has may be those of trimmed entries. So these files are
compared as a whole with the sha256 in their manifests; in the others, every row is accounted for by an event.
"""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from worker.audit.deep.altered import Wanted
from worker.audit.deep.choice import Choice, ids_of
from worker.audit.deep.compare import Difference, compare
from worker.audit.deep.files import Chosen, Expired, Reader
from worker.audit.deep.join import Join
from worker.audit.deep.listing import Found, Missing
from worker.audit.deep.order import Order
from worker.audit.deep.report import Listed, TypeReport, listed
from worker.audit.deep.sides import Entries
from worker.audit.deep.spill import Side, Spill
from worker.audit.finding import Finding, Kind
from worker.batch import BatchSize
from worker.records import id_order
from worker.replay.span import Span
from worker.stream.ranges import Ranges

_PAGE_ENTRIES = 2_000
_PAGE_BYTES = (
    300_000  # stays in the processor's cache until its rows are hashed: a quarter less CPU than with large ones
)


class TypeAudit:
    """Compares the events of a type in a span with the rows in all directories that can be seen."""

    def __init__(self, choice: Choice, ranges: Ranges) -> None:
        self._choice = choice
        self._forms = choice.forms
        self._ranges = ranges
        self._rows_read = 0  # in files
        self._first: str | None = None  # the first entry of the stream, once it was read
        self._expired = [*choice.expired]
        self._unseen = set[int]()  # segments of the stream
        self._order = Order(choice.type)
        self.findings: list[Finding] = []
        self.report: TypeReport | None = None

    @property
    def total(self) -> int:
        """Return about how many rows will be read, on both sides."""
        span, event_type = self._choice.known, self._choice.type
        first, last = self._ranges.first(event_type, *span), self._ranges.last(event_type, *span)
        events = last.at - first.at + first.n if first and last else 0
        return max(0, events) + sum(file.stored.rows for file in self._choice.files)

    def run(self, directory: Path) -> Iterator[int]:
        """Compare, spilling into a directory; yields how many more rows were read. Raises StreamUnavailable."""
        self._choice.rewritten.read()
        spill = Spill(directory)
        join = Join(directory / "join") if self._forms.are_several else None
        yield from self._spill_events(spill, join)
        yield from self._spill_files(spill, join)
        difference = join.number(spill) if join else Difference()
        compare(spill.partitions(self._unseen), difference)
        found = self._find(difference)
        missing = self._find_missing(difference, found)
        self._conclude(spill, difference, listed(self._choice.type, difference, found, missing, self._forms.shapes))

    def _find(self, difference: Difference) -> Found:
        """Look for the rows that stand too often, or that no event has."""
        found = Found(difference, self._forms, self._find_forms(difference))
        if found.is_wanted:
            for side, file in self._judged():
                with suppress(Expired):  # its rows stay counted, and are not named
                    for block in Reader(file.place, file.shape.header).rows(file.stored):
                        found.look(side, file.shape, block)
        return found

    def _find_forms(self, difference: Difference) -> dict[int, int]:
        """Return the forms of the rows that stand too often in several of them: by hash, the row's number."""
        if not (self._forms.are_several and difference.doubled):
            return {}
        numbers = difference.doubled_hashes
        pages = (entries for _, _, entries in self._entries(self._choice.known))
        return dict(pair for entries in pages for pair in self._forms.of_rows(numbers, entries))

    def _find_missing(self, difference: Difference, found: Found) -> Missing:
        """Look for the rows that do not stand; where they may be elsewhere, only for what altered rows were."""
        missing = Missing(
            difference, self._forms, Wanted(((row.text, row.shape) for row in found.unexpected), self._forms.shapes)
        )
        if difference.missing or (difference.elsewhere and found.unexpected):
            for side, _, entries in self._entries(self._choice.expected):
                missing.look(side, entries)
        return missing

    def _spill_events(self, spill: Spill, join: Join | None) -> Iterator[int]:
        for side, segment, entries in self._entries(self._choice.known):
            self._order.look(entries)
            for hashed in self._forms.of_events(entries):
                spill.add(side, hashed.numbers, segment)
                if join:
                    join.add_events(hashed)
                yield len(hashed.numbers)
        first = self._ranges.first(self._choice.type)
        self._first = first.id if first else None

    def _entries(self, span: Span) -> Iterator[Entries]:
        if span.is_empty:
            return
        size = BatchSize(max_entries=_PAGE_ENTRIES, max_bytes=_PAGE_BYTES, mean_bytes=_PAGE_BYTES / 100)
        with closing(self._ranges.entries(self._choice.type, *span, size)) as pages:
            for page in pages:
                yield from self._choice.sides.split(page)

    def _spill_files(self, spill: Spill, join: Join | None) -> Iterator[int]:
        add = join.add_rows if join else spill.add
        for side, file in self._judged():
            reader = Reader(file.place, file.shape.header)
            try:
                for block in reader.rows(file.stored, is_compared=side is Side.OLD):
                    add(side, self._forms.of_lines(block.lines, file.shape))
                    self._rows_read += len(block.lines)
                    yield len(block.lines)
            except Expired as expired:
                self._expired.append(expired.manifest)
                self._unseen.update(self._choice.sides.lose_sight_of(ids_of(file.stored)))
            self.findings += reader.findings

    def _judged(self) -> Iterator[tuple[Side, Chosen]]:
        """Yield the files, and whether rows without an event are wrong in them."""
        for file in self._choice.files:
            first_id = ids_of(file.stored).start
            is_old = self._first is None or id_order(first_id) < id_order(self._first)
            yield Side.OLD if is_old else Side.FOUND, file

    def _conclude(self, spill: Spill, difference: Difference, rows: Listed) -> None:
        self.findings += (*self._order.findings(), *rows.findings)
        expired_rows = sum(each.rows for each in self._expired)
        not_here = difference.elsewhere - (rows.altered - rows.expected)
        surplus = not_here - expired_rows - self._choice.rows_elsewhere
        if surplus > 0:
            what = "rows more are not here than expired files and other directories had"
            self.findings.append(
                Finding(
                    kind=Kind.ROW_MISSING,
                    type=self._choice.type,
                    count=surplus,
                    text=f"{self._choice.type}: {surplus:,} {what}",
                )
            )
        self.report = TypeReport(
            type=self._choice.type,
            files=len(self._choice.files),
            rows_in_files=self._rows_read,
            rows_of_events=spill.counts[Side.EXPECTED] + spill.counts[Side.ELSEWHERE],
            missing=difference.missing - rows.expected,
            doubled=difference.doubled,
            altered=rows.altered,
            unexpected=difference.unexpected - rows.altered,
            elsewhere=not_here,
            forgotten=self._choice.rewritten.rows,
            no_longer_in_the_stream=difference.old,
            expired_files=len(self._expired),
            expired_rows=expired_rows,
            uploaded=[each.uploaded.url for each in self._expired if each.uploaded],
        )
