"""Audits in this process, of a real server and real files, and workers that give them something to look at."""

from collections.abc import Sequence
from pathlib import Path

from schemas.events import TYPES
from tests.support.files import sealed_files
from tests.support.workers import HandClock, drain, make_worker
from worker.audit.directory import Shelf
from worker.audit.finding import Kind
from worker.audit.report import Known, Report, audit
from worker.identity import known_id
from worker.settings import Settings
from worker.stream.link import connector
from worker.stream.snapshot import snapshots


def shelf(configured: Settings) -> Shelf:
    """Return a directory as an audit looks at it."""
    directory_id = known_id(configured.directory.path)
    assert directory_id is not None
    return Shelf(configured.directory, directory_id)


def audited(configured: Settings, url: str, *others: Settings, known: Known | None = None) -> Report:
    """Return what an audit of counts finds."""
    shelves = [shelf(each) for each in (configured, *others)]
    with snapshots(connector(configured.stream, url), configured.stream.partition) as taken:
        return audit(taken, shelves, known or Known())[0]


def kinds(report: Report) -> Sequence[Kind]:
    """Return the kinds of what was found."""
    return [finding.kind for finding in report.findings]


def work(configured: Settings, url: str, events: int, *, stop: bool = True) -> None:
    """Let a worker write that many events; it stops, or dies with its files open."""
    worker = make_worker(configured, None, HandClock(), url=url)
    worker.recover()
    drain(worker, events)
    if stop:
        worker.stop()
        worker.run()
    else:
        worker.release()


def a_sealed_file(configured: Settings) -> Path:
    """Return the first sealed file, which can be written from now on."""
    [file, *_] = [file for name in TYPES for file in sealed_files(configured.directory.path, name)]
    file.chmod(0o640)
    return file
