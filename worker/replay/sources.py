"""Where the entries of a replay come from: the streams themselves, as they stand.

A source yields pages: entries of one type, the oldest first. Nothing on the server changes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, Protocol

from msgspec import Struct

from worker.decode import RawEntry
from worker.records import id_order
from worker.replay.holes import Course, Hole
from worker.replay.span import Span
from worker.stream.ranges import Edge, Ranges, number_of


class Page(NamedTuple):
    """Some entries of one type, and how far the source is with them."""

    event_type: str
    entries: Sequence[RawEntry]
    done: int  # events so far, over all types; of a source that cannot tell, entries


class Source(Protocol):
    """What a replay reads."""

    @property
    def total(self) -> int | None:
        """Return how far `done` will come, or None where nobody can tell."""

    def pages(self) -> Iterator[Page]:
        """Yield everything once."""


class Missing(Struct, frozen=True):
    """What a span asks for and a stream does not hold any more."""

    type: str
    events: int  # that were in the stream before its first entry
    first_id: str | None  # where the stream begins now; None: it is empty


class StreamSource:
    """A span of the streams. Its ends are fixed when it is made: what arrives later is not read.

    The types are read one after another while workers trim on, so what was there may be gone once its turn comes:
    `holes` tells, as far as was read.
    """

    def __init__(self, ranges: Ranges, types: Iterable[str], span: Span, *, acknowledged: bool = False) -> None:
        """Look at both ends of the span in each stream; with `acknowledged`, leave out what no worker has written.

        Raises StreamUnavailable.
        """
        self._ranges = ranges
        self.is_repeatable = not acknowledged  # by first and last id alone
        spans = {name: _acknowledged(ranges, name, span) if acknowledged else span for name in types}
        firsts = {name: ranges.first(name, *each) for name, each in spans.items()}
        self.edges = {
            name: (first, ranges.last(name, *spans[name]) or first) for name, first in firsts.items() if first
        }
        self._left_out = {name: ranges.pending(name, *spans[name]) if acknowledged else set() for name in self.edges}
        self._published = {name: ranges.published(name) for name in self.edges}  # no entry up to the ends has more
        self.missing = [lack for name, first in firsts.items() if (lack := missing(ranges, name, span, first))]
        self.holes: list[Hole] = []

    @property
    def total(self) -> int | None:
        """Return the number of events, by their running numbers; None where an entry has none."""
        counts = [_events(first, last) for first, last in self.edges.values()]
        return None if any(count <= 0 for count in counts) else sum(counts)

    def pages(self) -> Iterator[Page]:
        """Yield everything once that is still there."""
        done = 0
        for event_type, (first, last) in self.edges.items():
            begun = first.at - first.n
            left_out = self._left_out[event_type]
            course = Course(event_type, first, last, self._published[event_type])
            with closing(self._ranges.entries(event_type, first.id, last.id)) as found:
                for entries in found:
                    self.holes += course.follow(entries)
                    reached = number_of(entries[-1], b"at") - begun
                    kept = [entry for entry in entries if entry[0] not in left_out] if left_out else entries
                    yield Page(event_type, kept, done + max(0, reached))
            self.holes += course.end()
            done += max(0, _events(first, last))


def _acknowledged(ranges: Ranges, event_type: str, span: Span) -> Span:
    """Return the part of a span that the workers' group has delivered."""
    return span._replace(end=min(span.end, ranges.delivered(event_type), key=id_order))


def _events(first: Edge, last: Edge) -> int:
    return last.at - first.at + first.n


def missing(ranges: Ranges, event_type: str, span: Span, found: Edge | None = None) -> Missing | None:
    """Return what was in the stream before its first entry, where the span begins earlier than that.

    What was `found` first in the span a moment ago counts as there: if it is gone by now, reading will tell.
    """
    first = ranges.first(event_type)
    if found and (first is None or id_order(found.id) < id_order(first.id)):
        first = found
    if first is None:
        published = ranges.published(event_type)
        return Missing(event_type, published, None) if published else None
    before = first.at - first.n
    if before <= 0 or id_order(span.start) >= id_order(first.id):
        return None
    return Missing(event_type, before, first.id)
