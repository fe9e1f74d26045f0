"""Publishing through the real publish script of the Haraka plugin."""

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

from schemas.events import TYPES
from tests.support.events import encode, make_event
from worker.stream.keys import Keys

_SCRIPT = Path(__file__).resolve().parents[2] / "haraka" / "plugin" / "lib" / "publish.lua"


class Publisher:
    """One producer, as a process of Haraka is one; remembers what it published, and keeps a ring as the plugin does."""

    def __init__(self, client: Any, partition: str, name: str = "mx1-test") -> None:
        self._client = client
        keys = Keys.of(partition)
        self._keys = [keys.producers, keys.ledger, *keys.streams.values(), keys.history]
        self.script = _SCRIPT.read_text()
        self._sha: Any = client.script_load(self.script)
        self._name = name
        self._seq = 0
        self._offset = 0
        self._ring: list[tuple[object, ...]] = []  # every batch of this producer, by its number from one
        self.published: dict[str, list[dict[str, object]]] = {event_type: [] for event_type in TYPES}

    def publish(self, events: dict[str, list[dict[str, object]]]) -> None:
        """Publish one batch: an entry for each type in it. Each event gets its id, as the plugin gives it."""
        numbers = itertools.count()
        for each in (event for batch in events.values() for event in batch):
            each["eventId"] = f"{self._name}:{self._seq + 1}:{next(numbers)}"
        self._run(*(item for name, batch in events.items() for item in (name, len(batch), encode(batch))))
        for event_type, batch in events.items():
            self.published[event_type] += batch

    def publish_bytes(self, event_type: str, events: int, content: bytes) -> None:
        """Publish an entry that holds anything, as so many events; not remembered."""
        self._run(event_type, events, content)

    def _run(self, *entries: object) -> None:
        self._seq += 1
        self._ring.append((self._name, self._seq, "", *entries))
        reply, *last = self._send(self._ring[-1])
        if reply == b"GAP":
            self._send_again_behind(last[0])
        else:
            assert reply == b"OK"

    def catch_up(self) -> int:
        """Send what the server has forgotten, as the plugin does once it is connected again; returns how much that is.

        Where the server's process is another one, `use` comes first.
        """
        stored = self._client.hget(self._keys[0], self._name)
        return self._send_again_behind(int(stored.partition(b":")[0]) if stored else 0)

    def can_send_again(self, event: dict[str, object]) -> bool:
        """Tell whether an event is in the ring: one of an earlier process is not."""
        return str(event["eventId"]).startswith(f"{self._name}:")

    def _send_again_behind(self, last: int) -> int:
        again = self._ring[last:]
        for number, (name, seq, _, *entries) in enumerate(again):
            assert self._send((name, seq, "" if number else "0 0 0", *entries)) == [b"OK"]
        return len(again)

    def _send(self, batch: tuple[object, ...]) -> Any:
        return self._client.evalsha(self._sha, len(self._keys), *self._keys, *batch)

    def use(self, client: Any) -> None:
        """Publish to another server from now on."""
        self._client = client
        self._sha = client.script_load(self.script)

    def restart(self) -> None:
        """Begin as a new process of Haraka does: another producer, numbered from one."""
        self._name += "+"
        self._offset += self._seq
        self._seq = 0
        self._ring = []

    def publish_some(self, batches: int, *, per_batch: int = 1, recipients: int = 1) -> None:
        """Publish batches of the three types in turn."""
        for _ in range(batches):
            event_type = TYPES[(self._offset + self._seq) % len(TYPES)]
            first = sum(map(len, self.published.values()))
            events = [make_event(event_type, first + i, recipients=recipients) for i in range(per_batch)]
            self.publish({event_type: events})

    def publish_at_once(self, entries: int) -> None:
        """Publish entries of the three types in turn, up to three in a batch."""
        for start in range(0, entries, len(TYPES)):
            first = sum(map(len, self.published.values()))
            turns = [(first + i, TYPES[(first + i) % len(TYPES)]) for i in range(min(len(TYPES), entries - start))]
            self.publish({event_type: [make_event(event_type, number)] for number, event_type in turns})

    def counts(self) -> dict[str, int]:
        """Return how many events of each type were published."""
        counts: dict[str, int] = defaultdict(int)
        for event_type, events in self.published.items():
            counts[event_type] = len(events)
        return counts
