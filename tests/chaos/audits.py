"""Audits: of the counts while the run goes on, whenever the server answers, and of every row at its end.

Once the server has forgotten something, or a file was cut short, an audit may find that; it has to at the end where
rows are missing or stand twice, and must not name a row that is neither.
"""

import time
from contextlib import nullcontext
from typing import Final

from config.loader import load
from schemas.events import TYPES
from tests.chaos.compare import Found
from tests.chaos.fleet import SOCKET_TIMEOUT_SECONDS, Fleet, State
from tests.chaos.operators import Operators
from tests.support.audits import shelf
from tests.support.workers import changed, settings
from worker.audit.deep.run import Question, deep_audit
from worker.audit.directory import Shelf
from worker.audit.finding import Finding, Kind
from worker.audit.report import Known, audit
from worker.errors import StreamUnavailable
from worker.identity import known_id
from worker.replay.span import Span
from worker.settings import RowSettings
from worker.stream import Connector
from worker.stream.link import connector
from worker.stream.snapshot import snapshots

_EVERY_SECONDS: Final = 2.0
#: What is wrong whatever was lost.
_OF_FILES: Final = {
    Kind.MANIFEST,
    Kind.FILE_SIZE,
    Kind.FILE_UNREADABLE,
    Kind.FILE_ALTERED,
    Kind.HEADER,
    Kind.ROW_ALTERED,
}
_EVERYTHING: Final = Span("0-0", "18446744073709551615-0")


class Audits:
    """Audits the fleet's partition and directories now and then."""

    def __init__(self, fleet: Fleet, operators: Operators) -> None:
        self._fleet = fleet
        self._operators = operators
        self._next_at = 0.0
        self.done = 0
        self.told = 0  # findings at the end of a run in which something was lost
        self.differences: list[str] = []

    def look(self) -> None:
        """Audit if it is time to, and the server is there."""
        if time.monotonic() < self._next_at or self._fleet.server.state is not State.UP:
            return
        try:
            findings = self.audit()
        except StreamUnavailable:  # it is starting, or was killed right now
            return
        self._note([] if self._is_disturbed() else findings)
        self._next_at = time.monotonic() + _EVERY_SECONDS

    def finish(self, found: Found) -> None:
        """Audit once more with all workers stopped: every event against every row."""
        findings = self._deep()
        if (found.cut or found.doubled_and_named) and not findings:
            self.differences.append(f"the audit finds nothing: {found.cut} rows cut, {found.doubled_and_named} twice")
        if self._is_disturbed():
            self.told += len(findings)
            rows = {Kind.ROW_MISSING: found.cut, Kind.ROW_DOUBLED: found.doubled_and_named}
            findings = [each for each in findings if each.kind in _OF_FILES or rows.get(each.kind) == 0]
        self._note(findings)

    def _is_disturbed(self) -> bool:
        return bool(self._fleet.losses or self._operators.cut)

    def audit(self) -> list[Finding]:
        """Return what an audit of the counts finds. Raises StreamUnavailable."""
        with snapshots(*self._server(SOCKET_TIMEOUT_SECONDS)) as taken:
            report, _, _ = audit(taken, self._shelves(), Known())
        return list(report.findings)

    def _deep(self) -> list[Finding]:
        question = Question(span=_EVERYTHING, types=TYPES, rows=self._rows(), known=Known())
        report = deep_audit(
            *self._server(30), self._shelves, question, lambda _: nullcontext(lambda _done, _rows: None)
        )
        return list(report.findings)

    def _shelves(self) -> list[Shelf]:
        return [shelf(settings(path)) for path in self._fleet.paths if known_id(path)]

    def _server(self, timeout_seconds: float) -> tuple[Connector, str]:
        stream = changed(settings(self._fleet.home), "stream", socket_timeout_seconds=timeout_seconds).stream
        return connector(stream, f"redis://127.0.0.1:{self._fleet.server.port}/0"), stream.partition

    def _rows(self) -> RowSettings:
        return load(self._fleet.home / f"{self._fleet.names[0]}.ini", environ={}).settings.rows

    def _note(self, findings: list[Finding]) -> None:
        self.done += 1
        self.differences += [f"audit {self.done}: {finding.kind}: {finding.text}" for finding in findings]
