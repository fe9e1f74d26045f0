"""Audits of the counts while the run goes on: whenever the server answers, everything must be accounted for."""

import time
from typing import Final

from tests.chaos.fleet import SOCKET_TIMEOUT_SECONDS, Fleet, State
from tests.support.audits import shelf
from tests.support.workers import changed, settings
from worker.audit.finding import Finding
from worker.audit.report import audit
from worker.directory import known_id
from worker.errors import StreamUnavailable
from worker.stream.link import connector
from worker.stream.snapshot import snapshots

_EVERY_SECONDS: Final = 2.0


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
        """Audit once more, with all workers stopped."""
        self._note(self.audit())

    def audit(self) -> list[Finding]:
        """Return what an audit finds. Raises StreamUnavailable."""
        directories = [settings(path) for path in self._fleet.paths if known_id(path)]
        base = changed(settings(self._fleet.home), "stream", socket_timeout_seconds=SOCKET_TIMEOUT_SECONDS)
        connect = connector(base.stream, f"redis://127.0.0.1:{self._fleet.server.port}/0")
        with snapshots(connect, base.stream.partition) as taken:
            report, _, _ = audit(taken, [shelf(each) for each in directories], known_lost=0)
        return list(report.findings)

    def _note(self, findings: list[Finding]) -> None:
        self.done += 1
        self.differences += [f"audit {self.done}: {finding.kind}: {finding.text}" for finding in findings]
