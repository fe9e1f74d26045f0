"""An audit of counts: the balance of the partition, and of each directory that can be seen from here."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.events import TYPES
from worker import locks, salvage
from worker.audit import aside, balance, forgotten, memory, server, sizes
from worker.audit.acceptance import Acceptances, Accepted
from worker.audit.balance import Balance
from worker.audit.directory import Shelf, View, settled
from worker.audit.finding import Finding, Kind
from worker.stream.snapshot import Snapshot, Snapshots

_NAMED = 5  # notes
_LOOKS, _PAUSE_SECONDS = 20, 0.5


class Rows(Struct, frozen=True, kw_only=True):
    """The rows of a type in a directory: what was committed, and where it stands."""

    type: str
    committed: int  # by the ledger, or where it has forgotten by those who wrote them
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
    accepted: Sequence[Accepted] = ()  # findings that are none any more, since a person has looked at them


class Known(Struct, frozen=True, kw_only=True):
    """What who asks for an audit knows already."""

    lost: int = 0  # events that may be lost without being a finding
    elsewhere: frozenset[str] = frozenset()  # ids of directories that are audited on other hosts
    accepted: Acceptances = Acceptances()
    findings: Sequence[Finding] = ()  # of directories that cannot be looked at


def audit(snapshots: Snapshots, shelves: Sequence[Shelf], known: Known) -> tuple[Report, Snapshot, Sequence[View]]:
    """Compare all counts. Raises StreamUnavailable, NotAudited, and OSError from the disk."""
    snapshot, views = _settled(snapshots, shelves)
    balances = {event_type: balance.balance(snapshot, event_type) for event_type in TYPES}
    directories = [_directory(snapshot, view) for view in views]
    hidden = server.elsewhere(snapshot, {view.id for view in views})
    found = [
        *known.findings,
        *_events(snapshot, views, balances, known.lost),
        *server.findings(snapshot),
        *server.unseen(snapshot, hidden, known.elsewhere),
        *chain.from_iterable(
            _directory_findings(snapshot, view, counted) for view, counted in zip(views, directories, strict=True)
        ),
    ]
    findings, accepted = known.accepted.split(found)
    report = Report(
        balanced=not findings,
        types=list(balances.values()),
        directories=directories,
        elsewhere=hidden,
        findings=findings,
        accepted=accepted,
    )
    return report, snapshot, views


def _settled(snapshots: Snapshots, shelves: Sequence[Shelf]) -> tuple[Snapshot, Sequence[View]]:
    """Look at all at one moment; a worker that is putting back what the server forgot gets the time to."""
    for _ in range(_LOOKS):
        snapshot, views = settled(shelves, snapshots.take)
        if not any(memory.has_forgotten(snapshot, view) and locks.at_work(view.path) for view in views):
            break
        time.sleep(_PAUSE_SECONDS)
    return snapshot, views


def _events(
    snapshot: Snapshot, views: Sequence[View], balances: Mapping[str, Balance], known_lost: int
) -> Iterator[Finding]:
    notes = [note for view in views for note in salvage.lost_entries(view.path)]
    for each in balance.findings(snapshot, balances, known_lost):
        is_loss = each.kind is Kind.LOST
        yield msgspec.structs.replace(each, text=each.text + _where(notes)) if is_loss else each


def _directory(snapshot: Snapshot, view: View) -> DirectoryReport:
    rows = []
    for event_type in TYPES:
        committed = memory.committed(snapshot, view, event_type)
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


def _directory_findings(snapshot: Snapshot, view: View, counted: DirectoryReport) -> Iterator[Finding]:
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
    yield from forgotten.findings(view)
    yield from memory.findings(snapshot, view)
    yield from aside.findings(view, sum(snapshot.ledger.get(f"{name}:lost", 0) for name in TYPES))


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
