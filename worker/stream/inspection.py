"""What a partition looks like from outside: read-only, for `status`. Each term is read from where it really is.

What cannot be read is named and left out: the rest is what an operator needs to find out why.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from schemas.events import TYPES
from worker import records
from worker.fields import is_count, shown
from worker.records import FileState
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.look import Look, cut
from worker.stream.retention import Blocked, read_blocked

_PAGE = 500


class Count(Struct, frozen=True):
    """Entries, and the events in them."""

    entries: int
    events: int


class TypeStatus(Struct, frozen=True, kw_only=True):
    """One stream and its consumer group."""

    length: int  # entries in the stream
    unread: Count
    pending: Count
    ledger: Mapping[str, int]  # totals since the ledger began
    open_files: Mapping[str, FileState]  # by "<consumer> <directory id>"


class ConsumerStatus(Struct, frozen=True, kw_only=True):
    """A consumer's name, as far as it was ever registered."""

    name: str
    directory: str | None
    epoch: int
    alive: bool | None  # its lease lives, or (where leases are evicted) it has just read; None: cannot be told
    batch: int | None  # commits in its directory
    committed_ms: int | None  # its last commit, by its own clock
    closing: int  # files rotated but not sealed


class PartitionStatus(Struct, frozen=True, kw_only=True):
    """Everything that `status` shows."""

    partition: str
    types: Mapping[str, TypeStatus]
    consumers: list[ConsumerStatus]
    dead_letters: int
    blocked: tuple[Blocked, ...]  # who held up the last trimming
    warnings: list[str] = []  # what the server's settings can do
    unreadable: list[str] = []  # what is left out, and why


class _Owner(NamedTuple):
    consumer: str
    epoch: int
    directory: str | None


def inspect(connect: Connector, partition: str, lease_seconds: int = 0) -> PartitionStatus:
    """Read the state of a partition. Raises StreamUnavailable.

    `lease_seconds` is how long a lease lives, for a server that evicts them.
    """
    link = Link(connect)
    link.open()
    try:
        look = Look(link, Keys.of(partition))
        fit = look.fitness()
        active = _active(look, lease_seconds) if fit.evicts_leases else set()
        known, ledger = _records(look), look.pairs(look.keys.ledger)
        return PartitionStatus(
            partition=partition,
            types={event_type: _type_status(look, event_type, ledger, known) for event_type in TYPES},
            consumers=[_consumer(look, owner, known, active) for owner in _owners(look)],
            dead_letters=look.ask(0, "XLEN", look.keys.dead),
            blocked=read_blocked(look.ask(None, "HGET", look.keys.watch, "blocked")),
            warnings=[*filter(None, (fit.refusal, fit.trouble)), *fit.warnings],
            unreadable=look.troubles,
        )
    finally:
        link.close()


def _records(look: Look) -> dict[str, records.Record]:
    found = {}
    for owner, stored in look.pairs(look.keys.records).items():
        try:
            if record := records.decode(stored):
                found[owner] = record
        except msgspec.MsgspecError as error:
            look.trouble(f"{look.keys.records}: the record of {shown(owner)} cannot be read: {error}")
    return found


def _owners(look: Look) -> Iterator[_Owner]:
    for consumer, value in sorted(look.pairs(look.keys.owners).items()):
        epoch, _, directory = value.decode("utf-8", "replace").partition(" ")
        if not is_count(epoch):
            look.trouble(
                f"{look.keys.owners}: {shown(consumer)} has {cut(value)}, expected an epoch and a directory's id"
            )
        yield _Owner(consumer, int(epoch) if is_count(epoch) else 0, directory or None)


def _active(look: Look, lease_seconds: int) -> Collection[str] | None:
    """Return the consumers that have asked for entries within the time of a lease; a worker does so all the time.

    None where the server does not tell: before 7.2 it remembers only when somebody was given some.
    """
    active = set()
    for key in look.keys.streams.values():
        for reply in look.ask([], "XINFO", "CONSUMERS", key, GROUP):
            facts = dict(zip(reply[::2], reply[1::2], strict=True))
            if b"inactive" not in facts:
                return None
            if facts[b"idle"] < lease_seconds * 1000:
                active.add(facts[b"name"].decode("utf-8", "replace"))
    return active


def _consumer(
    look: Look, owner: _Owner, known: Mapping[str, records.Record], active: Collection[str] | None
) -> ConsumerStatus:
    record = known.get(f"{owner.consumer} {owner.directory}")
    has_lease = bool(look.ask(0, "EXISTS", look.keys.lease(owner.consumer)))
    return ConsumerStatus(
        name=shown(owner.consumer),
        directory=owner.directory and shown(owner.directory),
        epoch=owner.epoch,
        alive=has_lease or (None if active is None else owner.consumer in active),
        batch=record.batch if record else None,
        committed_ms=record.committed_ms if record else None,
        closing=len(record.closing) if record else 0,
    )


def _type_status(
    look: Look, event_type: str, ledger: Mapping[str, bytes], known: Mapping[str, records.Record]
) -> TypeStatus:
    key, prefix = look.keys.streams[event_type], f"{event_type}:"
    group = look.group(key)
    return TypeStatus(
        length=look.ask(0, "XLEN", key),
        unread=_unread(look, key, group),
        pending=_pending(look, key) if group else Count(0, 0),
        ledger={name.removeprefix(prefix): count for name, count in _counts(look, ledger) if name.startswith(prefix)},
        open_files={
            shown(field): record.files[event_type] for field, record in known.items() if event_type in record.files
        },
    )


def _counts(look: Look, ledger: Mapping[str, bytes]) -> Iterator[tuple[str, int]]:
    for name, value in ledger.items():
        if is_count(text := value.decode("utf-8", "replace")):
            yield name, int(text)
        else:
            look.trouble(f"{look.keys.ledger}: {shown(name)} is {cut(value)}, expected a count")


def _unread(look: Look, key: str, group: dict[str, Any] | None) -> Count:
    """Count what no consumer has had: events by the running number `at` of the first and the last such entry."""
    after = group["last-delivered-id"].decode() if group else "0-0"
    first = look.ask([], "XRANGE", key, f"({after}", "+", "COUNT", 1)
    last = look.ask([], "XREVRANGE", key, "+", f"({after}", "COUNT", 1)
    if not first or not last:
        return Count(0, 0)
    events = _number(last[0], b"at") - _number(first[0], b"at") + _number(first[0], b"n")
    entries = group.get("lag") if group else look.ask(0, "XLEN", key)
    if entries is None:  # before Redis 7, or after entries were deleted
        entries = sum(1 for _ in _range(look, key, f"({after}"))
    return Count(entries, max(0, events))


def _range(look: Look, key: str, start: str) -> Iterator[Any]:
    while page := look.ask([], "XRANGE", key, start, "+", "COUNT", _PAGE):
        yield from page
        start = f"({page[-1][0].decode()}"


def _pending(look: Look, key: str) -> Count:
    """Count what consumers have had and not acknowledged, by the entries' own `n`."""
    entries = events = 0
    start = "-"
    while page := look.ask([], "XPENDING", key, GROUP, start, "+", _PAGE):
        for entry_id, *_ in page:
            found = look.ask([], "XRANGE", key, entry_id, entry_id)
            entries += 1
            events += _number(found[0], b"n") if found else 0
        start = f"({page[-1][0].decode()}"
    return Count(entries, events)


def _number(entry: Any, field: bytes) -> int:  # noqa: ANN401
    """Return a number of an entry; 0 where somebody added one without it."""
    fields = entry[1]
    try:
        return int(fields[fields.index(field) + 1])
    except (ValueError, IndexError):
        return 0
