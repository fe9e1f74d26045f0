"""Putting the live group back, so that workers write a part of the streams again.

Looking comes first and changes nothing; what was counted then has to be true still when the one script runs that fences
every consumer, moves the group and tells the ledger. Only while no worker is at work.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

from worker.decode import RawEntry
from worker.errors import AccountingError
from worker.records import id_order
from worker.stream.keys import GROUP, PLACEHOLDER, Keys
from worker.stream.link import Connector, Link
from worker.stream.ranges import Ranges, number_of
from worker.stream.script import Script

#: Says how many rows these entries become.
RowsOf = Callable[[Sequence[RawEntry]], int]

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
    events: int = 0  # by the entries' own numbers
    rows: int = 0  # that will stand twice
    pending: int = 0  # entries that nobody has written; they come with the others, once
    pending_rows: int = 0  # of these


class Again(NamedTuple):
    """What is written again of one stream."""

    event_type: str
    events: int  # whose rows will stand twice
    pending: int  # entries that nobody had written; they come with the others, once
    rows: int  # that will stand twice
    pending_rows: int  # of the pending entries: these stand once


class Rewinder:
    """Puts the group of a partition back, over an open connection."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self.ranges = Ranges(link, keys)

    def look(self, event_type: str, back_to: str, rows_of: RowsOf, tell: Callable[[int], None]) -> Delivered | None:
        """Count what the group has delivered behind an id; None where that is nothing.

        `tell` hears the number of events of each page. Raises StreamUnavailable.
        """
        delivered = self.ranges.delivered(event_type)
        if id_order(delivered) <= id_order(back_to):
            return None
        start = f"({back_to}"
        pending = self.ranges.pending(event_type, start, delivered)
        found = Delivered(event_type, delivered, back_to, "")
        with closing(self.ranges.entries(event_type, start, delivered)) as pages:
            for page in pages:
                waiting = [entry for entry in page if entry[0] in pending]
                events, waiting_rows = sum(number_of(entry, b"n") for entry in page), rows_of(waiting)
                found = Delivered(
                    event_type, delivered, back_to,
                    first=found.first or page[0][0].decode(),
                    events=found.events + events,
                    rows=found.rows + rows_of(page) - waiting_rows,
                    pending=found.pending + len(waiting),
                    pending_rows=found.pending_rows + waiting_rows,
                )  # fmt: skip
                tell(events)
        return found if found.first else None

    def check_idle(self) -> None:
        """Raise WorkersAlive where a worker is at work."""
        self._refuse([each for each in self._consumers() if self._link.call("EXISTS", self._lease(each))])

    def run(self, found: Sequence[Delivered]) -> list[Again]:
        """Put the group back where it was looked at. Raises WorkersAlive and Changed; nothing is done then."""
        keys, consumers = self._keys, self._consumers()
        facts = [
            fact
            for each in found
            for fact in (each.event_type, each.delivered, each.back_to, each.first, each.events, each.pending)
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
        return [
            Again(each.event_type, events, pending, each.rows, each.pending_rows)
            for each, events, pending in zip(found, reply[1::2], reply[2::2], strict=True)
        ]

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
