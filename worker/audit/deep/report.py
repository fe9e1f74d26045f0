"""What a deep audit tells of each type, and its findings row by row. Pure."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from msgspec import Struct

from worker.audit.deep.altered import Pair, pairs
from worker.audit.deep.compare import Difference
from worker.audit.deep.forms import EventRow
from worker.audit.deep.layout import Shape
from worker.audit.deep.listing import FileRow, Found, Missing
from worker.audit.finding import Finding, Kind


class TypeReport(Struct, frozen=True, kw_only=True):
    """The rows of one type in the range."""

    type: str
    files: int  # that were read
    rows_in_files: int  # in all of them, though they hold more than the range
    rows_of_events: int  # of the range
    missing: int
    doubled: int
    altered: int
    unexpected: int
    elsewhere: int  # of the range, and not in these files: expired, or in other directories
    forgotten: int  # that an address was taken out of, in these files
    no_longer_in_the_stream: int  # rows whose events cannot be seen any more
    expired_files: int
    expired_rows: int
    uploaded: Sequence[str]  # where expired files can be had


class Listed(Struct, frozen=True, kw_only=True):
    """The findings of a type, and how many altered rows are among them."""

    findings: Sequence[Finding]
    altered: int
    expected: int  # of these, those that nothing else explains: they are in the difference's `missing`


def listed(event_type: str, difference: Difference, found: Found, missing: Missing, shapes: Sequence[Shape]) -> Listed:
    """Return what was found, row by row as far as it was examined, and as a number beyond that."""
    lost = [*missing.rows, *missing.elsewhere]
    made = pairs([(row.text, row.shape) for row in found.unexpected], [row.texts for row in lost], shapes)
    altered = {pair.unexpected for pair in made}
    were = {pair.missing for pair in made}
    of_range = sum(index < len(missing.rows) for index in were)
    gone = [row for index, row in enumerate(missing.rows) if index not in were]
    strange = [row for index, row in enumerate(found.unexpected) if index not in altered]
    findings = [
        *(_altered(event_type, found.unexpected[pair.unexpected], lost[pair.missing], pair) for pair in made),
        *(_missing(event_type, row) for row in gone),
        *_more(Kind.ROW_MISSING, event_type, difference.missing - of_range - len(gone)),
        *(_doubled(event_type, places) for places in found.doubled.values()),
        *_more(Kind.ROW_DOUBLED, event_type, difference.doubled - _extra(found)),
        *(_unexpected(event_type, row) for row in strange),
        *_more(Kind.ROW_UNEXPECTED, event_type, difference.unexpected - len(found.unexpected)),
    ]
    return Listed(findings=findings, altered=len(made), expected=of_range)


def _extra(found: Found) -> int:
    return sum(max(1, len(places) - 1) for places in found.doubled.values())


def _altered(event_type: str, row: FileRow, was: EventRow, pair: Pair) -> Finding:
    columns = ", ".join(pair.columns)
    return Finding(
        kind=Kind.ROW_ALTERED, type=event_type, file=row.file, lines=[row.line], columns=pair.columns,
        entry=was.entry, event=was.event, rcpt=was.rcpt, count=1, sha256=sha256(row.text).hexdigest(),
        text=f"{row.file} line {row.line}: {columns} of {was.rcpt} (entry {was.entry}, event {was.event})",
    )  # fmt: skip


def _missing(event_type: str, row: EventRow) -> Finding:
    return Finding(
        kind=Kind.ROW_MISSING, type=event_type, entry=row.entry, event=row.event, rcpt=row.rcpt, count=1,
        text=f"{event_type} row of {row.rcpt} (entry {row.entry}, event {row.event})",
    )  # fmt: skip


def _doubled(event_type: str, places: Sequence[FileRow]) -> Finding:
    where = ", ".join(f"{place.file} line {place.line}" for place in places)
    return Finding(
        kind=Kind.ROW_DOUBLED, type=event_type, file=places[0].file, lines=[place.line for place in places],
        count=max(1, len(places) - 1), text=where,
    )  # fmt: skip


def _unexpected(event_type: str, row: FileRow) -> Finding:
    return Finding(
        kind=Kind.ROW_UNEXPECTED, type=event_type, file=row.file, lines=[row.line], count=1,
        sha256=sha256(row.text).hexdigest(),
        text=f"{row.file} line {row.line}: no event of the streams has this row",
    )  # fmt: skip


def _more(kind: Kind, event_type: str, count: int) -> Iterator[Finding]:
    if count > 0:
        yield Finding(kind=kind, type=event_type, count=count, text=f"{event_type}: {count:,} more that are not listed")
