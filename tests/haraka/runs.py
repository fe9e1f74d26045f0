"""A laboratory for each configuration, and what its run left behind."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haraka.demo.accounting import COLUMNS, compared
from haraka.demo.expect import Expectation, Row
from haraka.demo.lab import Lab, Setup
from haraka.demo.record import Transaction
from haraka.demo.waiting import wait_until
from tests.haraka.scenarios import BOUND_DOMAIN, BOUND_IP, HEADER, MESSAGES

PATIENCE_SECONDS = 180.0
ALL_COLUMNS = (
    f"{COLUMNS},vmta,queue,dsnAction,dsnMta,dlvType,dlvDestinationPort,totalSecondsQueued,srcType,node,eventId,streamId"
    f",custom_{HEADER},custom_X-Absent"
)


def _setup(*, nodes: int | None = None, always_split: bool = False, retry_seconds: tuple[int, ...] = (5,)) -> Setup:
    return Setup(
        nodes=nodes,
        always_split=always_split,
        retry_seconds=retry_seconds,
        columns=ALL_COLUMNS,
        binds={BOUND_DOMAIN: BOUND_IP},
    )


SETUPS = {
    "default": _setup(retry_seconds=(5, 5)),
    "always_split": _setup(nodes=0, always_split=True),
    "nodes=2": _setup(nodes=2),
    "restart": _setup(),
}


@dataclass(frozen=True)
class Run:
    """What one laboratory left behind."""

    setup: Setup
    expectation: Expectation
    transactions: tuple[Transaction, ...]
    rows: tuple[Mapping[str, str], ...]
    sink_port: int
    haraka_log: str

    def rows_of(self, scenario: str) -> list[Mapping[str, str]]:
        """Return the rows of a scenario's message, without those of its bounce messages, oldest first."""
        rows = [row for row in self.rows if row["orig"] == MESSAGES[scenario].orig]
        return sorted(rows, key=lambda row: (row["rcpt"], float(row["totalSecondsQueued"])))

    def due(self, scenario: str) -> Counter[Row]:
        """Return what the files must hold for a scenario, bounce messages to its sender included."""
        orig = MESSAGES[scenario].orig
        return Counter(row for row, _ in self.expectation.rows if orig in {row.orig, row.rcpt})

    def found(self, scenario: str) -> Counter[Row]:
        """Return what the files hold for a scenario, bounce messages to its sender included."""
        orig = MESSAGES[scenario].orig
        return Counter(compared(row) for row in self.rows if orig in {row["orig"], row["rcpt"]})


def carry_out(directory: Path, setup: Setup, *, restart: bool) -> Run:
    """Send every scenario's message through a laboratory of its own, and wait for the end of all deliveries."""
    with Lab(directory, setup) as lab:
        lab.send(MESSAGES.values())
        if restart:
            _restart_before_the_retries(lab)
        lab.finish(PATIENCE_SECONDS)
        return Run(
            setup=setup,
            expectation=lab.expectation(),
            transactions=lab.sink.record.transactions(),
            rows=tuple(lab.worker.rows()),
            sink_port=lab.sink.port,
            haraka_log=lab.haraka.log(),
        )


def _restart_before_the_retries(lab: Lab) -> None:
    """Stop Haraka once whatever is still queued has failed once, and start it again."""

    def only_retries_are_left() -> bool:
        lab.check()
        queued = lab.haraka.queued()
        return bool(queued) and lab.haraka.retries_pending() == len(queued)

    wait_until(only_retries_are_left, "the first deferrals", PATIENCE_SECONDS)
    lab.haraka.stop()
    lab.haraka.start()
