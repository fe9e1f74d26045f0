"""One outage carried out, and what it left behind."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.outage.lab import Lab, Said, Setup, said_by_events, said_by_sink
from tests.outage.outages import Act

MESSAGES_BEFORE = 15
MESSAGES_AFTER = 15


@dataclass(frozen=True)
class Scenario:
    """What is to happen in which laboratory, and what is expected of it."""

    act: Act
    setup: Setup
    spools: bool = True  # events go to disk
    may_let_go: bool = False  # hooks whose event is not safe, since nobody takes it


@dataclass(frozen=True)
class Run:
    """What the sink, the streams and the spool say in the end."""

    scenario: Scenario
    sink: Counter[Said]
    streams: Counter[Said]
    repeated: frozenset[tuple[str, str]]  # sender and recipient of what a killed Haraka had under way
    taken: Mapping[str, str]  # sender → id that Haraka gave to the message
    jobs: Mapping[str, set[str]]  # sender → job ids of its events
    event_ids: list[str]
    spooled: int
    dropped: int
    let_go: int  # hooks, before their event was safe
    slowest_write_ms: float
    left: list[Path]
    log: str

    def is_repeated(self, said: Said) -> bool:
        """Whether Haraka was killed in the middle of this delivery, and so has made it again."""
        return (said.orig, said.rcpt) in self.repeated

    @staticmethod
    def of_type(source: Counter[Said], orig: str, rcpt: str, tag: str) -> int:
        """Return how often a recipient was said to have fared like this."""
        return sum(count for said, count in source.items() if (said.orig, said.rcpt, said.type) == (orig, rcpt, tag))


def carry_out(directory: Path, scenario: Scenario) -> Run:
    """Let mail come, let it happen, let more mail come, and wait for the end of all deliveries."""
    with Lab(directory, scenario.setup) as lab:
        lab.wait_for_mail(MESSAGES_BEFORE)
        scenario.act(lab)
        lab.wait_for_mail(MESSAGES_AFTER)
        lab.finish()
        events = list(lab.events())
        jobs: dict[str, set[str]] = defaultdict(set)
        for event in events:
            jobs[event["orig"]].add(event["jobId"])
        return Run(
            scenario=scenario,
            sink=said_by_sink(lab.sink.record.transactions()),
            streams=said_by_events(events),
            repeated=frozenset(lab.repeated),
            taken=dict(lab.traffic.taken),
            jobs=jobs,
            event_ids=[event["eventId"] for event in events],
            spooled=lab.most_spooled,
            dropped=lab.counted("dropped"),
            let_go=lab.counted("unsafe"),
            slowest_write_ms=lab.pulse.worst_ms,
            left=lab.spooled(),
            log=lab.haraka.log(),
        )
