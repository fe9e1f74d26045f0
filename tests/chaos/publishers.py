"""Producers: threads that publish as the plugin does, through its script, and never let go of a batch.

A failure tells nothing about whether the batch was added, so the same batch goes out again under the same number until
the server says OK or DUPLICATE. A GAP would mean that the server lost what it had acknowledged: reported, and the end.
"""

import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.events import TYPES
from tests.support.events import encode, make_event
from worker.stream.keys import Keys

_SCRIPT: Final = (Path(__file__).resolve().parents[2] / "haraka" / "plugin" / "lib" / "publish.lua").read_text()
_NUMBERS_EACH: Final = 100_000_000  # numbers of events that a producer has for itself
_BURSTS: Final = 40
_SOCKET_TIMEOUT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.1


class Published(NamedTuple):
    """An event that stands in a stream, by its producer's word."""

    event_type: str
    number: int
    recipients: int

    def addresses(self) -> Iterator[str]:
        """Yield its recipients, as `make_event` names them."""
        return (f"{self.event_type}{self.number}.{index}@example.com" for index in range(self.recipients))


class Schedule:
    """How many events a producer publishes in which time: half of them steadily, half in bursts that pile up.

    `done` keeps it from running ahead of what it is published for: chaos without traffic finds nothing.
    """

    def __init__(self, events: int, seconds: float) -> None:
        self.events = events
        self.done = 0.0  # share of the chaos that is over
        self._seconds = seconds

    def due(self, elapsed_seconds: float) -> int:
        """Return how many events should be out by now."""
        share = min(elapsed_seconds / self._seconds, self.done + 1 / _BURSTS)
        bursts = (int(share * _BURSTS) + 1) / _BURSTS
        return min(self.events, int(self.events * (share + bursts) / 2))


class Producer(threading.Thread):
    """One process of Haraka, as far as the server can tell."""

    def __init__(self, index: int, port: int, partition: str, seed: int, schedule: Schedule) -> None:
        super().__init__(name=f"mx{index}", daemon=True)
        self._chance = random.Random(f"{seed} {index}")
        self._schedule = schedule
        self._next_number = index * _NUMBERS_EACH
        keys = Keys.of(partition)
        self._keys = [keys.producers, keys.ledger, *keys.streams.values(), keys.history]
        self._client: Any = redis.Redis(
            port=port, protocol=2, socket_timeout=_SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=_SOCKET_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        self._sha = ""
        self._seq = 0
        self._given_up = threading.Event()
        self.published: list[Published] = []
        self.resent = 0
        self.duplicates = 0
        self.trouble = ""

    def give_up(self) -> None:
        """End at once, whatever is not published."""
        self._given_up.set()

    def run(self) -> None:
        """Publish everything, as the schedule has it."""
        began = time.monotonic()
        with suppress(redis.RedisError):
            while not self._given_up.is_set() and len(self.published) < self._schedule.events:
                if len(self.published) < self._schedule.due(time.monotonic() - began):
                    self._publish_one()
                else:
                    self._given_up.wait(0.02)
        self._client.close()

    def _publish_one(self) -> None:
        left = self._schedule.events - len(self.published)
        size = self._chance.choice((1, self._chance.randint(2, 30), self._chance.randint(10, 60)))
        batch = self._batch(min(size, left))
        self._seq += 1
        arguments: list[object] = [self.name, self._seq, ""]
        numbers = itertools.count()
        for event_type, events in batch.items():
            made = [make_event(event_type, event.number, recipients=event.recipients) for event in events]
            for each in made:
                each["eventId"] = f"{self.name}:{self._seq}:{next(numbers)}"
            arguments += (event_type, len(events), encode(made))
        if self._send(arguments):
            self.published += (event for events in batch.values() for event in events)

    def _batch(self, size: int) -> dict[str, list[Published]]:
        """Make up a batch: one to three types, mostly one recipient an event."""
        types = self._chance.sample(TYPES, min(size, self._chance.choice((1, 1, 2, 3))))
        batch: dict[str, list[Published]] = {event_type: [] for event_type in types}
        for index in range(size):
            event_type = types[index % len(types)]
            recipients = self._chance.choice((1, 1, 1, 1, 1, 1, 2, 4))
            batch[event_type].append(Published(event_type, self._next_number, recipients))
            self._next_number += 1
        return batch

    def _send(self, arguments: list[object]) -> bool:
        """Send a batch until the server has it; False where it never will."""
        first = True
        while not self._given_up.is_set():
            try:
                self._sha = self._sha or self._client.script_load(_SCRIPT)
                reply: Any = self._client.evalsha(self._sha, len(self._keys), *self._keys, *arguments)
            except redis.exceptions.NoScriptError:
                self._sha = ""
            except (redis.ConnectionError, redis.TimeoutError):
                self.resent += not first
                first = False
                self._given_up.wait(_RETRY_SECONDS)
            except redis.RedisError as error:
                return self._fail(f"{type(error).__name__}: {error}")
            else:
                if reply[0] == b"GAP":
                    return self._fail(f"GAP: the server has {reply[1]} as the last batch, this one is {self._seq}")
                self.duplicates += reply[0] == b"DUPLICATE"
                return True
        return False

    def _fail(self, message: str) -> bool:
        self.trouble = f"producer {self.name}: {message}"
        self.give_up()
        return False
