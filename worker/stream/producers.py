"""The producers of a partition: what they published last, the notes that they leave, and when they are forgotten.

A producer is one process of Haraka. Its number and the time of its last batch are the publish script's, by the
server's clock; its note is its own, written once a minute by the node's clock, and may hold anything.
"""

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from schemas.events import Instant
from worker.elapsed import MACHINE, Clocks
from worker.fields import shown
from worker.stream.keys import PLACEHOLDER, Keys
from worker.stream.link import Connector, Link
from worker.stream.script import Script
from worker.stream.time_line import is_steady

_PAGE = 500  # hash fields that a script looks at, about
_DAY_MS = 86_400_000
_NUMBER = re.compile(rb"([0-9]{1,15}):([0-9]{1,15})")

_LARGEST = 2**53  # what JavaScript counts exactly

_prune = Script("prune_producers")

_Figure = Annotated[int, Meta(ge=0, le=_LARGEST)] | None
_Milliseconds = Annotated[float, Meta(ge=0, le=_LARGEST)] | None


class Note(Struct, frozen=True, rename="camel", kw_only=True):
    """What a producer says of itself since its start: events, unless said otherwise. None: it does not say."""

    at: Instant | None = None  # by the node's clock
    node: str | None = None
    pid: _Figure = None
    published: _Figure = None
    batches: _Figure = None
    spooled: _Figure = None  # went to disk first
    spool_bytes: _Figure = None  # still there
    drained: _Figure = None  # brought from disk
    claimed: tuple[str, ...] | None = None  # dead producers whose spool it took, the last ones
    claimed_bytes: _Figure = None  # of those, on disk
    claimed_drained: _Figure = None  # of those, brought
    dropped: _Figure = None  # lost: the spool was full, or could not be read
    unsafe: _Figure = None  # let go before they were safe
    skipped: _Figure = None  # hook calls that gave no event
    latency_ms: _Milliseconds = None  # of a batch, mean
    latency_max_ms: _Milliseconds = None


class Producer(Struct, frozen=True, kw_only=True):
    """A producer, by its number or by its note; either may be missing or unreadable."""

    name: str
    seq: int | None  # of its last batch
    seen_ms: int | None  # when that came, by the server's clock
    note: Note | None
    note_is_unreadable: bool
    claimed_by: str | None = None  # who took its spool, after it had died
    holds: tuple[str, ...] = ()  # dead producers whose spool it took, and nobody after it


def read_producers(connect: Connector, partition: str) -> list[Producer]:
    """Return the producers of a partition, by name. Raises StreamUnavailable."""
    keys = Keys.of(partition)
    link = Link(connect)
    link.open()
    try:
        numbers, notes = _pairs(link.call("HGETALL", keys.producers)), _pairs(link.call("HGETALL", keys.nodes))
    finally:
        link.close()
    names = sorted((numbers.keys() | notes.keys()) - {PLACEHOLDER.encode()})
    producers = [_producer(name, numbers, notes) for name in names]
    return _with_claims(producers)


def prune_producers(connect: Connector, partition: str, days: int, clocks: Clocks = MACHINE) -> int:
    """Forget the producers that have been silent for so many days; returns how many. Raises StreamUnavailable.

    None while the server's clock, by which they are silent, has not gone along with the time that passed for as long.
    Several workers may do it at once. Between two of the short scripts everybody else has their turn.
    """
    keys = Keys.of(partition)
    link = Link(connect)
    link.open()
    try:
        if not is_steady(link, keys, days * _DAY_MS, clocks):
            return 0
        link.call("SCRIPT", "LOAD", _prune.source)
        return sum(_prune_hash(link, keys, which, days) for which in (1, 2))
    finally:
        link.close()


def _prune_hash(link: Link, keys: Keys, which: int, days: int) -> int:
    """Go through the producers (1) or the notes (2)."""
    removed = 0
    cursor = None
    while cursor != b"0":
        cursor, count = link.call(
            "EVALSHA", _prune.sha, 2, keys.producers, keys.nodes, which, cursor or 0, _PAGE, days * _DAY_MS
        )
        removed += int(count)
    return removed


def _pairs(reply: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _producer(name: bytes, numbers: Mapping[bytes, bytes], notes: Mapping[bytes, bytes]) -> Producer:
    number = _NUMBER.fullmatch(numbers.get(name, b""))
    note = _note(notes[name]) if name in notes else None
    return Producer(
        name=shown(name.decode("utf-8", "replace")),
        seq=int(number[1]) if number else None,
        seen_ms=int(number[2]) if number else None,
        note=note,
        note_is_unreadable=name in notes and note is None,
    )


def _with_claims(producers: list[Producer]) -> list[Producer]:
    """Return the producers with who took whose spool: a claimer can die too, and the last one has it."""
    claims = [(each.note.at or 0, each.name, each.note.claimed or ()) for each in producers if each.note]
    claimed_by = {dead: claimer for _, claimer, names in sorted(claims) for dead in names}
    holds: dict[str, list[str]] = {}
    for dead, claimer in claimed_by.items():
        holds.setdefault(claimer, []).append(dead)
    return [
        structs.replace(each, claimed_by=claimed_by.get(each.name), holds=tuple(sorted(holds.get(each.name, ()))))
        for each in producers
    ]


def _note(value: bytes) -> Note | None:
    """Return what a note says, None where that is no note."""
    try:
        return msgspec.json.decode(value, type=Note)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
