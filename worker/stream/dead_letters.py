"""The dead letters of a partition: looked at, put back into their streams, or dropped.

A letter is one event that could not become rows, or (index -1) a whole entry. A worker makes so many letters of an
entry and not more: the last one holds all of its events from that index on, separated by commas, and `n` says how many.
How the ledger stays in balance, per type:

    published + replayed + foreign = events + letters that are held + retried + dropped + lost + pending + unread
    dead = letters that are held + retried + dropped

A commit counts a letter once, as `dead`; `retried` and `dropped` count it once more when it leaves. A retried letter
comes back as an entry of its own, published like any other: it adds to `published` what the worker will count it as,
either every event of its array or, where that is no array of events, the one letter that it becomes again. A whole
entry of several events that became a letter has been published as that many, and `dead` counts it so: the letter
holds the number in a field `n`, and `retried` and `dropped` count it so too.

A letter that leaves is noted in the stream `…:settled`, since the entry that its event first stood in still stands: an
audit has to know that no file has rows of it. Retention trims the notes with the entries.

Each letter is moved by one script that does nothing where the letter is gone. So a command whose reply was lost can be
given again. What somebody else added by hand may hold anything; letters of no known type can only be dropped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from schemas.events import TYPES
from worker.errors import AccountingError
from worker.stream.keys import Keys
from worker.stream.link import Connector, Link
from worker.stream.script import Script

_PAGE = 50  # letters can be large
LETTERS_AT_MOST = 100_000  # beyond them, the oldest are dropped
_DROPPED_AT_ONCE = 10_000  # the rest waits for the next time
_NOTES = 1_000_000  # on letters that left, about: some 40 MB
WHOLE_ENTRY = -1  # the index of a letter that is no single event

_retry, _drop = Script("dead_retry"), Script("dead_drop")
_events = msgspec.json.Decoder(Annotated[list[msgspec.Raw], Meta(min_length=1)])  # as the worker takes them apart


class NoSuchLetter(AccountingError):
    """There is no such dead letter."""


class Outcome(StrEnum):
    """What became of a letter."""

    DONE = "done"
    GONE = "gone"  # it was not there: somebody has retried or dropped it, or its stream was trimmed
    REFUSED = "refused"  # it belongs to no stream of ours


class Letter(Struct, frozen=True, kw_only=True):
    """A dead letter. Whatever it lacks is empty or None; text that is no UTF-8 holds replacement characters."""

    id: str
    type: str
    entry_id: str
    index: int | None  # of the event in its entry; -1: the whole entry
    payload: bytes
    error: str

    @property
    def at_ms(self) -> int:
        """Return when it was set aside, by the server's clock."""
        return int(self.id.partition("-")[0])

    @property
    def is_ours(self) -> bool:
        """Tell whether it can go back into a stream."""
        return self.type in TYPES and self.index is not None

    @property
    def event_count(self) -> int:
        """Return how many events (or dead letters) a worker will count when it reads this again."""
        payload = self.payload if self.index == WHOLE_ENTRY else b"[" + self.payload + b"]"
        try:
            return len(_events.decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return 1


class DeadLetters:
    """The dead letters of a partition, over an open connection."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def get(self, letter_id: str) -> Letter:
        """Return a letter. Raises NoSuchLetter."""
        found = self._link.call("XRANGE", self._keys.dead, letter_id, letter_id)
        if not found:
            raise NoSuchLetter(f"no dead letter {letter_id}")
        return _letter(*found[0])

    def last_id(self) -> str | None:
        """Return the id of the newest letter, None where there is none."""
        found = self._link.call("XREVRANGE", self._keys.dead, "+", "-", "COUNT", 1)
        return found[0][0].decode() if found else None

    def letters(self, until: str | None, event_type: str | None = None) -> Iterator[Letter]:
        """Yield the letters up to an id, the oldest first.

        Without a bound, a retry of all would never end: what fails again becomes a new letter.
        """
        start = "-"
        while until and (page := self._link.call("XRANGE", self._keys.dead, start, until, "COUNT", _PAGE)):
            for letter in (_letter(*entry) for entry in page):
                if event_type in {None, letter.type}:
                    yield letter
            start = f"({page[-1][0].decode()}"

    def drop_beyond(self, most: int) -> int:
        """Drop the oldest letters but so many, each counted as dropped; returns how many that were."""
        too_many = min(self._link.call("XLEN", self._keys.dead) - most, _DROPPED_AT_ONCE)
        if too_many <= 0:
            return 0
        letters = islice(self.letters(self.last_id()), too_many)
        return sum(self.drop(letter.id) is Outcome.DONE for letter in letters)

    def retry(self, letter: Letter) -> Outcome:
        """Put a letter back into its stream, unless it is gone."""
        if not letter.is_ours:
            return Outcome.REFUSED
        stream = self._keys.streams[letter.type]
        return self._run(_retry, (*self._keys_of_letters, stream), letter.type, letter.id, letter.event_count, _NOTES)

    def drop(self, letter_id: str) -> Outcome:
        """Remove a letter for good, unless it is gone."""
        return self._run(_drop, self._keys_of_letters, letter_id, _NOTES, *TYPES)

    @property
    def _keys_of_letters(self) -> tuple[str, ...]:
        return self._keys.ledger, self._keys.dead, self._keys.settled

    def _run(self, script: Script, keys: tuple[str, ...], *arguments: object) -> Outcome:
        reply = self._link.call("EVALSHA", script.sha, len(keys), *keys, *arguments)
        return Outcome.GONE if reply == b"GONE" else Outcome.DONE

    def load_scripts(self) -> None:
        """Make `retry` and `drop` known to the server; who only looks needs no right to load scripts."""
        for script in (_retry, _drop):
            self._link.call("SCRIPT", "LOAD", script.source)


@contextmanager
def dead_letters(connect: Connector, partition: str, *, change: bool = False) -> Iterator[DeadLetters]:
    """Yield the dead letters of a partition; with `change`, they can be retried and dropped."""
    link = Link(connect)
    link.open()
    try:
        found = DeadLetters(link, Keys.of(partition))
        if change:
            found.load_scripts()
        yield found
    finally:
        link.close()


def _letter(letter_id: bytes, fields: list[bytes]) -> Letter:
    """Take a letter apart; somebody may have added it by hand."""
    stored: dict[bytes, Any] = dict(zip(fields[::2], fields[1::2], strict=False))

    def text(name: bytes) -> str:
        return str(stored.get(name, b"").decode("utf-8", "replace"))

    return Letter(
        id=letter_id.decode(),
        type=text(b"type"),
        entry_id=text(b"id"),
        index=_index(stored.get(b"index", b"")),
        payload=stored.get(b"bytes", b""),
        error=text(b"error"),
    )


def _index(value: bytes) -> int | None:
    digits = value.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 9:
        return None
    return max(WHOLE_ENTRY, int(value))
