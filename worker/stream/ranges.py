"""Ranges of the streams, read as they stand: nobody's group, consumer or pending entry is touched, nothing is written.

Pages are asked for ahead: while the caller works on one, the server sends the next.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from worker.batch import BatchSize
from worker.decode import RawEntry
from worker.errors import StreamUnavailable
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.look import group_of

FIRST, LAST = "-", "+"  # as Redis calls the ends of a stream

_LARGEST = "18446744073709551615-18446744073709551615"
_PAGE_ENTRIES = 2000
_PAGE_BYTES = 1_000_000  # larger ones take memory only, smaller ones wake the process more often
_UNKNOWN_BYTES = 25_000.0  # of an entry, until some were seen: they hold arrays, and the first page may be large


class Edge(NamedTuple):
    """An entry at one end of a range. `n` and `at` are 0 where somebody added it without them."""

    id: str
    n: int  # events in it
    at: int  # running number of its last event in the type


class Ranges:
    """Reads ranges of a partition's streams on an open connection, which it has to itself while it reads.

    Ids are Redis' own: `<ms>-<seq>`, `(` before one excludes it, `-` and `+` are the ends. Raises StreamUnavailable.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def first(self, event_type: str, start: str = FIRST, end: str = LAST) -> Edge | None:
        """Return the first entry of a range, or None where it is empty."""
        return _edge(self._link.call("XRANGE", self._keys.streams[event_type], start, end, "COUNT", 1))

    def last(self, event_type: str, start: str = FIRST, end: str = LAST) -> Edge | None:
        """Return the last entry of a range, or None where it is empty."""
        return _edge(self._link.call("XREVRANGE", self._keys.streams[event_type], end, start, "COUNT", 1))

    def published(self, event_type: str) -> int:
        """Return how many events of a type were ever published, by the ledger; 0 where that holds no number."""
        return _whole(self._link.call("HGET", self._keys.ledger, f"{event_type}:published") or b"")

    def delivered(self, event_type: str) -> str:
        """Return the last id that the workers' group has delivered; `0-0` where it has delivered none."""
        group = group_of(self._link, self._keys.streams[event_type])
        return group["last-delivered-id"].decode() if group else "0-0"

    def pending(self, event_type: str, start: str = FIRST, end: str = LAST) -> set[bytes]:
        """Return the ids in a range that the group has delivered and nobody has acknowledged."""
        key, found = self._keys.streams[event_type], set[bytes]()
        if group_of(self._link, key) is None:
            return found
        while page := self._link.call("XPENDING", key, GROUP, start, end, _PAGE_ENTRIES):
            found.update(entry_id for entry_id, *_ in page)
            if page[-1][0].decode() in {end, _LARGEST}:
                break
            start = f"({page[-1][0].decode()}"
        return found

    def entries(
        self, event_type: str, start: str = FIRST, end: str = LAST, page: BatchSize | None = None
    ) -> Generator[list[RawEntry], None, None]:
        """Yield the entries of a range, the oldest first, in pages of a bounded size.

        Until the last page is out, or the iterator is closed, a reply is on its way: use no other method meanwhile.
        What is added while reading is read too where the range is open; let it end at `last` where it has to end.
        """
        size = page or BatchSize(max_entries=_PAGE_ENTRIES, max_bytes=_PAGE_BYTES, mean_bytes=_UNKNOWN_BYTES)
        key = self._keys.streams[event_type]
        self._link.send("XRANGE", key, start, end, "COUNT", size.entries)
        is_sent = True
        try:
            while is_sent:
                is_sent = False
                found: list[RawEntry] = self._link.receive()
                if not found:
                    return
                size.learn(len(found), sum([len(fields[1]) for _, fields in found if fields]))  # `events`
                last = found[-1][0].decode()
                if last not in {end, _LARGEST}:  # Redis calls what lies behind the largest id invalid
                    self._link.send("XRANGE", key, f"({last}", end, "COUNT", size.entries)
                    is_sent = True
                yield found
        finally:
            if is_sent:
                with suppress(StreamUnavailable):  # closed before its end; who goes on with the link will see
                    self._link.receive()


@contextmanager
def ranges(connect: Connector, partition: str) -> Iterator[Ranges]:
    """Yield the ranges of a partition, over a connection of their own."""
    link = Link(connect)
    link.open()
    try:
        yield Ranges(link, Keys.of(partition))
    finally:
        link.close()


def _edge(found: list[RawEntry]) -> Edge | None:
    if not found:
        return None
    return Edge(found[0][0].decode(), number_of(found[0], b"n"), number_of(found[0], b"at"))


def number_of(entry: RawEntry, field: bytes) -> int:
    """Return a number that an entry holds (`n` or `at`); 0 where somebody added one without it."""
    fields = entry[1] or ()
    for name, value in zip(fields[::2], fields[1::2], strict=False):
        if name == field:
            return _whole(value)
    return 0


def _whole(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) <= 15 else 0
