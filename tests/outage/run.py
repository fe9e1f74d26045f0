"""One outage carried out, and what it left behind."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.outage.lab import Lab, Said, said_by_events, said_by_sink
from tests.outage.outages import Outage

MESSAGES_BEFORE = 15
MESSAGES_AFTER = 15


@dataclass(frozen=True)
class Run:
    """What the sink, the streams and the spool say in the end."""

    nodes: int
    sink: Counter[Said]
    streams: Counter[Said]
    repeated: frozenset[tuple[str, str]]  # sender and recipient of what a killed Haraka had under way
    taken: Mapping[str, str]  # sender → id that Haraka gave to the message
    jobs: Mapping[str, set[str]]  # sender → job ids of its events
    event_ids: list[str]
    spooled: int
    dropped: int
    left: list[Path]

    def is_repeated(self, said: Said) -> bool:
        """Whether Haraka was killed in the middle of this delivery, and so has made it again."""
        return (said.orig, said.rcpt) in self.repeated

    @staticmethod
    def of_type(source: Counter[Said], orig: str, rcpt: str, tag: str) -> int:
        """Return how often a recipient was said to have fared like this."""
        return sum(count for said, count in source.items() if (said.orig, said.rcpt, said.type) == (orig, rcpt, tag))


def carry_out(directory: Path, nodes: int, outage: Outage) -> Run:
    """Let mail come, let the outage happen, let more mail come, and wait for the end of all deliveries."""
    with Lab(directory, nodes) as lab:
        lab.wait_for_mail(MESSAGES_BEFORE)
        outage(lab)
        lab.wait_for_mail(MESSAGES_AFTER)
        lab.finish()
        events = list(lab.events())
        jobs: dict[str, set[str]] = defaultdict(set)
        for event in events:
            jobs[event["orig"]].add(event["jobId"])
        return Run(
            nodes=nodes,
            sink=said_by_sink(lab.sink.record.transactions()),
            streams=said_by_events(events),
            repeated=frozenset(lab.repeated),
            taken=dict(lab.traffic.taken),
            jobs=jobs,
            event_ids=[event["eventId"] for event in events],
            spooled=lab.most_spooled,
            dropped=lab.dropped(),
            left=lab.spooled(),
        )
