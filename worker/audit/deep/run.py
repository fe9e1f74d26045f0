"""A deep audit from its counts to its rows."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from msgspec import Struct

from worker.audit.acceptance import Accepted
from worker.audit.deep.choice import Moment, choose
from worker.audit.deep.files import first_line
from worker.audit.deep.job import TypeAudit
from worker.audit.deep.report import TypeReport
from worker.audit.directory import Shelf, View
from worker.audit.finding import Finding
from worker.audit.report import Known, Report, audit
from worker.replay.span import Span
from worker.settings import RowSettings
from worker.stream.link import Connector
from worker.stream.ranges import ranges
from worker.stream.snapshot import snapshots

#: Shows how many rows were read, of about so many: what it yields is told how many so far, twice.
Watch = Callable[[int], AbstractContextManager[Callable[[int, int], None]]]


class DeepReport(Struct, frozen=True, kw_only=True):
    """The counts, and every row of the range."""

    counts: Report
    types: Sequence[TypeReport]
    findings: Sequence[Finding]  # of both
    accepted: Sequence[Accepted]  # likewise


class Question(Struct, frozen=True, kw_only=True):
    """What is asked."""

    span: Span
    types: Sequence[str]
    rows: RowSettings
    known: Known


def deep_audit(
    connect: Connector, partition: str, shelves: Callable[[], Sequence[Shelf]], question: Question, watch: Watch
) -> DeepReport:
    """Compare every event of a span with every row. Raises StreamUnavailable, NotAudited, OSError."""
    with snapshots(connect, partition) as taken:
        counts, snapshot, views = audit(taken, shelves(), question.known)
        moment = Moment(
            snapshot=snapshot, settled=taken.settled(snapshot), views=views, first_lines=_first_lines(views)
        )
    with ranges(connect, partition) as streams:
        chosen = (choose(name, question.span, question.rows, moment) for name in question.types)
        jobs = [TypeAudit(choice, streams) for choice in chosen]
        _run(jobs, watch)
    told = [*counts.findings, *(each.finding for each in counts.accepted)]
    findings, accepted = question.known.accepted.split(
        each for job in jobs for each in job.findings if not _is_told(each, told)
    )
    return DeepReport(
        counts=counts,
        types=[job.report for job in jobs if job.report],
        findings=[*counts.findings, *findings],
        accepted=[*counts.accepted, *accepted],
    )


def _first_lines(views: Sequence[View]) -> dict[Path, bytes]:
    """Return the first lines of the open files that have rows."""
    files = (each for view in views for each in view.files)
    return {stored.path: first_line(each.place, stored) for each in files for stored in each.open if stored.rows}


def _run(jobs: Sequence[TypeAudit], watch: Watch) -> None:
    done = 0
    with watch(sum(job.total for job in jobs)) as tell:
        for job in jobs:
            with _directory() as directory:
                for rows in job.run(directory):
                    done += rows
                    tell(done, done)


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="haraka-accounting-audit-") as path:
        yield Path(path)


def _is_told(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Tell whether the counts have shown it already."""
    return any((each.kind, each.file) == (finding.kind, finding.file) for each in findings if each.file)
