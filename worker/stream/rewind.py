"""Putting the live group back, so that workers write a part of the streams again.

Looking comes first and changes nothing; what was counted then has to be true still when the one script runs that fences
every consumer, moves the group and tells the ledger. Only while no worker is at work.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

from worker.errors import AccountingError
from worker.records import id_order
from worker.stream.keys import GROUP, PLACEHOLDER, Keys
from worker.stream.link import Connector, Link
from worker.stream.ranges import Ranges, number_of
from worker.stream.script import Script

_rewind = Script("rewind")


class WorkersAlive(AccountingError):
    """Workers are at work."""


class Changed(AccountingError):
    """What was counted is not true any more."""


class Delivered(NamedTuple):
    """What the group has delivered of one stream since an id, as it was counted."""

    event_type: str
    delivered: str  # the last id that it has delivered
    back_to: str  # the id that it goes back to: what comes behind it is delivered again
    first: str  # the first entry there
    entries: int
    events: int  # by the entries' own numbers


class Again(NamedTuple):
    """What is written again of one stream."""

    event_type: str
    events: int  # whose rows will stand twice
    pending: int  # entries that nobody had written; they come with the others, once


class Rewinder:
    """Puts the group of a partition back, over an open connection."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self.ranges = Ranges(link, keys)

    def look(self, event_type: str, back_to: str, tell: Callable[[int], None]) -> Delivered | None:
        """Count what the group has delivered behind an id; None where that is nothing.

        `tell` hears the number of events of each page. Raises StreamUnavailable.
        """
        delivered = self.ranges.delivered(event_type)
        if id_order(delivered) <= id_order(back_to):
            return None
        first, entries, events = "", 0, 0
        with closing(self.ranges.entries(event_type, f"({back_to}", delivered)) as pages:
            for page in pages:
                first = first or page[0][0].decode()
                counted = sum(number_of(entry, b"n") for entry in page)
                entries, events = entries + len(page), events + counted
                tell(counted)
        return Delivered(event_type, delivered, back_to, first, entries, events) if entries else None

    def check_idle(self) -> None:
        """Raise WorkersAlive where a worker is at work."""
        self._refuse([each for each in self._consumers() if self._link.call("EXISTS", self._lease(each))])

    def run(self, found: Sequence[Delivered]) -> list[Again]:
        """Put the group back where it was looked at. Raises WorkersAlive and Changed; nothing is done then."""
        keys, consumers = self._keys, self._consumers()
        facts = [
            fact for each in found for fact in (each.event_type, each.delivered, each.back_to, each.first, each.events)
        ]
        names = (
            keys.epoch, keys.owners, keys.ledger,
            *(keys.streams[each.event_type] for each in found), *map(self._lease, consumers),
        )  # fmt: skip
        self._link.call("SCRIPT", "LOAD", _rewind.source)
        reply = self._link.call(
            "EVALSHA", _rewind.sha, len(names), *names, GROUP, len(found), *facts, *consumers
        )  # fmt: skip
        match reply[0]:
            case b"ALIVE":
                self._refuse(reply[1:])
            case b"CHANGED":
                raise Changed(f"{reply[1].decode('utf-8', 'replace')} has changed since it was counted: try again")
        return [Again(each.event_type, *reply[1 + 2 * i : 3 + 2 * i]) for i, each in enumerate(found)]

    def _consumers(self) -> list[bytes]:
        """Return every consumer that has an epoch: others cannot commit."""
        owners: list[bytes] = self._link.call("HGETALL", self._keys.owners)[::2]
        return sorted(name for name in owners if name != PLACEHOLDER.encode())

    def _lease(self, consumer: bytes) -> bytes:
        return self._keys.lease_prefix.encode() + consumer

    @staticmethod
    def _refuse(alive: Sequence[bytes]) -> None:
        if alive:
            names = ", ".join(name.decode("utf-8", "replace") for name in alive)
            raise WorkersAlive(f"{names} at work: stop the workers first")


@contextmanager
def rewinder(connect: Connector, partition: str) -> Iterator[Rewinder]:
    """Yield what puts the group of a partition back, over a connection of its own."""
    link = Link(connect)
    link.open()
    try:
        yield Rewinder(link, Keys.of(partition))
    finally:
        link.close()
