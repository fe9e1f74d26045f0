"""What the loop reads next: own pending entries, those of the dead, new ones; and the batch after the one in hand.

At most one batch is uncommitted and one is read ahead of it, without blocking. Own pending entries are read, and
others' taken over, only while there is neither (protocol traps 1, 21 and 22).
"""

import logging
from collections.abc import Callable

from worker.batch import Batch, BatchSize, Renderer
from worker.log import event
from worker.stream import Entries, Pending, Stream

_log = logging.getLogger(__name__)

# Whoever dies with several entries in hand does not tell which one it was: those deliveries only make an entry
# suspected. From then on it is read alone, so every further one that counts is a death with nothing else in hand.
_SUSPECTED_FROM = 3  # deliveries
_LONE_DEATHS = 5


class Reader:
    """Reads and renders batches for one consumer."""

    def __init__(  # noqa: PLR0913
        self, stream: Stream, renderer: Renderer, size: BatchSize, *,
        look_around: Callable[[], None], look_every_seconds: float, monotonic: Callable[[], float],
    ) -> None:  # fmt: skip
        self._stream = stream
        self._renderer = renderer
        self._size = size
        self._take_from_the_dead = look_around
        self._look_every_seconds = look_every_seconds
        self._monotonic = monotonic
        self._look_at = 0.0
        self._alone: Pending | None = None  # the last one that was asked for

    def next_batch(self, *, wait: bool) -> Batch | None:
        """Read when nothing is in hand: own pending entries first, then those of the dead, then new ones.

        Own pending entries are looked at every time: a read whose reply was lost may have left some. Raises Fenced: one
        that has nothing to commit would not notice.
        """
        batch = self._own_pending()
        if batch is None and self._is_time_to_look():
            self._look_at = self._monotonic() + self._look_every_seconds
            self._take_from_the_dead()
            batch = self._own_pending()
        if batch is not None:
            return batch
        self._stream.renew_lease()
        if not wait:
            return None
        self._stream.request_new(self._size.entries, block=True)
        return self.render(self._stream.receive_entries())

    def request_ahead(self, batch: Batch) -> bool:
        """Ask for the batch after this one; False where something else has to be read first."""
        if batch.pending or self._is_time_to_look():
            return False
        self._stream.request_new(self._size.entries, block=False)
        return True

    def receive_ahead(self) -> Entries:
        """Return what was asked for ahead."""
        return self._stream.receive_entries()

    def render(self, entries: Entries, *, pending: bool = False) -> Batch | None:
        """Return the batch of these entries, or None where there are none."""
        batch = self._renderer.render(entries, pending=pending, keep=self._stream.compares)
        if batch:
            self._size.observe(batch)
        return batch

    def survived(self) -> None:
        """Tell the server, after a recovery, that this process lives: what it had in hand did not kill it.

        Raises Fenced.
        """
        self._stream.forgive(_SUSPECTED_FROM, self._alone)
        self._alone = None

    def _own_pending(self) -> Batch | None:
        """Read own entries that are not acknowledged; one that may have killed its readers comes alone, or not at all.

        Their counts of deliveries, on the server, are counts of deaths: `survived` sets back the others.
        """
        while pending := self._stream.pending(self._size.entries):
            suspects = [entry for entry in pending if entry.deliveries >= _SUSPECTED_FROM]
            if not suspects:
                return self.render(self._stream.read_pending(self._size.entries), pending=True)
            if suspects[0].deliveries >= _SUSPECTED_FROM + _LONE_DEATHS:
                self._set_aside(suspects[0])
            elif batch := self._read_alone(suspects[0]):
                return batch
        return None

    def _read_alone(self, suspect: Pending) -> Batch | None:
        self._alone = suspect  # before it is asked for: the reply may be lost
        entries = self._stream.read_alone(suspect.event_type, suspect.id)
        if not entries:
            self._alone = None
        return self.render(entries, pending=True)

    def _set_aside(self, suspect: Pending) -> None:
        deaths = suspect.deliveries
        error = f"not decoded: {deaths} readers died, {deaths - _SUSPECTED_FROM} of them with nothing else in hand"
        self._stream.set_aside(suspect.event_type, suspect.id, error)
        event(_log, "entry.set_aside", logging.ERROR, type=suspect.event_type, id=suspect.id.decode(), deaths=deaths)

    def _is_time_to_look(self) -> bool:
        """Tell whether it is time to look for what dead workers left; a busy stream does not put it off."""
        return self._monotonic() >= self._look_at
