"""Audits: of the counts while the run goes on, whenever the server answers, and of every row at its end."""

import time
from contextlib import nullcontext
from typing import Final

from config.loader import load
from schemas.events import TYPES
from tests.chaos.fleet import SOCKET_TIMEOUT_SECONDS, Fleet, State
from tests.support.audits import shelf
from tests.support.workers import changed, settings
from worker.audit.deep.run import Question, deep_audit
from worker.audit.directory import Shelf
from worker.audit.finding import Finding
from worker.audit.report import Known, audit
from worker.errors import StreamUnavailable
from worker.identity import known_id
from worker.replay.span import Span
from worker.settings import RowSettings
from worker.stream import Connector
from worker.stream.link import connector
from worker.stream.snapshot import snapshots

_EVERY_SECONDS: Final = 2.0
_EVERYTHING: Final = Span("0-0", "18446744073709551615-0")


class Audits:
    """Audits the fleet's partition and directories now and then."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._next_at = 0.0
        self.done = 0
        self.differences: list[str] = []

    def look(self) -> None:
        """Audit if it is time to, and the server is there."""
        if time.monotonic() < self._next_at or self._fleet.server.state is not State.UP:
            return
        try:
            self._note(self.audit())
        except StreamUnavailable:  # it is starting, or was killed right now
            return
        self._next_at = time.monotonic() + _EVERY_SECONDS

    def finish(self) -> None:
        """Audit once more with all workers stopped: every event against every row."""
        self._note(self._deep())

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
