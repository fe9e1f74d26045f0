"""An audit of counts: the balance of the partition, and of each directory that can be seen from here."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.events import TYPES
from worker import salvage
from worker.audit import balance, sizes
from worker.audit.balance import Balance
from worker.audit.directory import Shelf, View, settled
from worker.audit.finding import Finding, Kind
from worker.stream.snapshot import Snapshot, Snapshots

_NAMED = 5  # notes


class Rows(Struct, frozen=True, kw_only=True):
    """The rows of a type in a directory: what was committed, and where it stands."""

    type: str
    committed: int  # by the ledger
    sealed: int
    expired: int
    open: int
    difference: int  # committed, and nowhere; below zero: more stand than were committed


class DirectoryReport(Struct, frozen=True, kw_only=True):
    """A directory that was looked at."""

    path: str
    id: str
    rows: Sequence[Rows]
    others: int  # files in it that belong to another directory: not counted


class Report(Struct, frozen=True, kw_only=True):
    """What an audit of counts found."""

    balanced: bool
    types: Sequence[Balance]
    directories: Sequence[DirectoryReport]
    elsewhere: Mapping[str, Mapping[str, int]]  # rows by directory id and type of directories that are not here
    findings: Sequence[Finding]


def audit(snapshots: Snapshots, shelves: Sequence[Shelf], known_lost: int) -> tuple[Report, Snapshot, Sequence[View]]:
    """Compare all counts. Raises StreamUnavailable, NotAudited, and OSError from the disk."""
    snapshot, views = settled(shelves, snapshots.take)
    balances = {event_type: balance.balance(snapshot, event_type) for event_type in TYPES}
    directories = [_directory(snapshot, view) for view in views]
    notes = [note for view in views for note in salvage.lost_entries(view.path)]
    findings = [
        msgspec.structs.replace(each, text=each.text + _where(notes)) if each.kind is Kind.LOST else each
        for each in balance.findings(snapshot, balances, known_lost)
    ]
    for view, counted in zip(views, directories, strict=True):
        findings += _directory_findings(view, counted)
    report = Report(
        balanced=not findings,
        types=list(balances.values()),
        directories=directories,
        elsewhere=elsewhere(snapshot, {view.id for view in views}),
        findings=findings,
    )
    return report, snapshot, views


def elsewhere(snapshot: Snapshot, here: set[str]) -> dict[str, dict[str, int]]:
    """Return the rows that were committed in other directories, by directory id and type."""
    found: dict[str, dict[str, int]] = {}
    for name, rows in snapshot.ledger.items():
        event_type, _, directory = name.partition(":rows:")
        if directory and directory not in here and rows:
            found.setdefault(directory, {})[event_type] = rows
    return found


def _directory(snapshot: Snapshot, view: View) -> DirectoryReport:
    rows = []
    for event_type in TYPES:
        committed = snapshot.ledger.get(f"{event_type}:rows:{view.id}", 0)
        files = view.of_type(event_type)
        rows.append(
            Rows(
                type=event_type,
                committed=committed,
                sealed=sum(stored.rows for each in files for stored in each.sealed),
                expired=sum(manifest.rows for each in files for manifest in each.expired),
                open=sum(stored.rows for each in files for stored in each.open),
                difference=committed - sum(each.rows for each in files),
            )
        )
    return DirectoryReport(path=str(view.path), id=view.id, rows=rows, others=view.others)


def _directory_findings(view: View, counted: DirectoryReport) -> Iterator[Finding]:
    kept = salvage.kept(view.path)
    for rows in counted.rows:
        if rows.difference:
            yield Finding(
                kind=Kind.ROWS, type=rows.type, directory=view.id, count=rows.difference,
                text=f"{view.path}: {_what_differs(rows)}{_where(kept)}",
            )  # fmt: skip
    for error in view.bad:
        yield Finding(kind=Kind.MANIFEST, directory=view.id, text=str(error))
    yield from sizes.findings(view)


def _what_differs(rows: Rows) -> str:
    if rows.difference > 0:
        return f"{rows.difference:,} {rows.type} rows were committed and stand in no file: files were removed by hand"
    return (
        f"{-rows.difference:,} more {rows.type} rows stand in the files than were committed: "
        "the server has lost commits, or files were added by hand"
    )


def _where(kept: Sequence[Path]) -> str:
    """Name the first notes there are."""
    return "; see " + ", ".join(map(str, kept[:_NAMED])) if kept else ""
