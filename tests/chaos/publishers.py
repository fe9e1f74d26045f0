"""Producers: threads that publish as the plugin does, through its script, and never let go of a batch.

A failure tells nothing about whether the batch was added, so the same batch goes out again under the same number until
the server says OK or DUPLICATE. What the server had acknowledged is kept in a ring: where it has forgotten the last of
that, which a GAP tells, or a look at the number that it has, all of it is sent again.
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
_LOOK_SECONDS: Final = 0.5  # at the number that the server has


class Published(NamedTuple):
    """An event that stands in a stream, by its producer's word."""

    event_type: str
    number: int
    recipients: int
    key: str = ""  # of its entry, as the workers know it

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
        self.is_over = False  # nothing happens to the server any more
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
        self._ring: list[list[object]] = []  # every batch that was acknowledged, by its number from one
        self._look_at = 0.0
        self._has_all = False
        self._given_up = threading.Event()
        self.published: list[Published] = []
        self.resent = 0
        self.rings = 0  # batches of the ring that were sent again
        self.duplicates = 0
        self.trouble = ""

    def give_up(self) -> None:
        """End at once, whatever is not published."""
        self._given_up.set()

    def run(self) -> None:
        """Publish everything, as the schedule has it."""
        began = time.monotonic()
        with suppress(redis.RedisError):
            while not self._given_up.is_set() and not self._is_done():
                if len(self.published) < self._schedule.due(time.monotonic() - began):
                    self._publish_one()
                elif time.monotonic() >= self._look_at:
                    self._catch_up()
                else:
                    self._given_up.wait(0.02)
        self._client.close()

    def _is_done(self) -> bool:
        """Tell whether everything is out, and nothing will be forgotten any more."""
        return len(self.published) >= self._schedule.events and self._has_all

    def _catch_up(self) -> None:
        """Look whether the server has everything, as the plugin does when it is connected again."""
        self._look_at = time.monotonic() + _LOOK_SECONDS
        is_over = self._schedule.is_over
        try:
            stored: bytes | None = self._client.hget(self._keys[0], self.name)
        except redis.RedisError:
            return
        last = int(stored.partition(b":")[0]) if stored else 0
        self._send_again(last, self._seq + 1)
        self._has_all = is_over and last == self._seq

    def _send_again(self, last: int, before: int) -> None:
        """Send what the server has forgotten, the first with a word that it had been acknowledged.

        What fails, or is forgotten once more meanwhile, is met by the next look, or by the next try of a batch.
        """
        for number, batch in enumerate(self._ring[last : before - 1]):
            again = [*batch[:2], "" if number else "0 0 0", *batch[3:]]
            self.rings += 1
            with suppress(redis.RedisError):
                self._client.evalsha(self._sha, len(self._keys), *self._keys, *again)
                continue
            return

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
            self._ring.append(arguments)
            key = f"{self.name}:{self._seq}"
            self.published += (event._replace(key=key) for events in batch.values() for event in events)

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
                    self._send_again(int(reply[1]), int(str(arguments[1])))
                    continue
                self.duplicates += reply[0] == b"DUPLICATE"
                return True
        return False

    def _fail(self, message: str) -> bool:
        self.trouble = f"producer {self.name}: {message}"
        self.give_up()
        return False
