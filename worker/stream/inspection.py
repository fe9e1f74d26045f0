"""What a partition looks like from outside: read-only, for `status`. Each term is read from where it really is."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from schemas.events import TYPES
from worker import records
from worker.records import FileState
from worker.stream.keys import GROUP, PLACEHOLDER, Keys
from worker.stream.link import Connector, Link
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
    alive: bool  # its lease lives
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


class _Owner(NamedTuple):
    consumer: str
    epoch: int
    directory: str | None


def inspect(connect: Connector, partition: str) -> PartitionStatus:
    """Read the state of a partition. Raises StreamUnavailable."""
    link = Link(connect)
    link.open()
    try:
        keys = Keys.of(partition)
        stored = _pairs(link.call("HGETALL", keys.records))
        known = {field: record for field, value in stored.items() if (record := _record(value))}
        ledger = _pairs(link.call("HGETALL", keys.ledger))
        return PartitionStatus(
            partition=partition,
            types={event_type: _type_status(link, keys, event_type, ledger, known) for event_type in TYPES},
            consumers=[_consumer(link, keys, owner, known) for owner in _owners(link, keys)],
            dead_letters=link.call("XLEN", keys.dead),
            blocked=read_blocked(link.call("HGET", keys.watch, "blocked")),
        )
    finally:
        link.close()


def _pairs(reply: list[bytes]) -> dict[str, bytes]:
    return {name.decode("utf-8", "replace"): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _record(value: bytes) -> records.Record | None:
    try:
        return records.decode(value)
    except msgspec.MsgspecError:  # the placeholder, or a later version's
        return None


def _owners(link: Link, keys: Keys) -> Iterator[_Owner]:
    for consumer, value in sorted(_pairs(link.call("HGETALL", keys.owners)).items()):
        if consumer != PLACEHOLDER:
            epoch, _, directory = value.decode("ascii", "replace").partition(" ")
            yield _Owner(consumer, int(epoch), directory or None)


def _consumer(link: Link, keys: Keys, owner: _Owner, known: Mapping[str, records.Record]) -> ConsumerStatus:
    record = known.get(f"{owner.consumer} {owner.directory}")
    return ConsumerStatus(
        name=owner.consumer,
        directory=owner.directory,
        epoch=owner.epoch,
        alive=bool(link.call("EXISTS", keys.lease(owner.consumer))),
        batch=record.batch if record else None,
        committed_ms=record.committed_ms if record else None,
        closing=len(record.closing) if record else 0,
    )


def _type_status(
    link: Link, keys: Keys, event_type: str, ledger: Mapping[str, bytes], known: Mapping[str, records.Record]
) -> TypeStatus:
    key = keys.streams[event_type]
    prefix = f"{event_type}:"
    return TypeStatus(
        length=link.call("XLEN", key),
        unread=_unread(link, key),
        pending=_pending(link, key),
        ledger={name.removeprefix(prefix): int(value) for name, value in ledger.items() if name.startswith(prefix)},
        open_files={field: record.files[event_type] for field, record in known.items() if event_type in record.files},
    )


def group_of(link: Link, key: str) -> dict[str, Any] | None:
    """Return what XINFO says of our group, or None where the stream or the group is missing."""
    if not link.call("EXISTS", key):
        return None
    for group in link.call("XINFO", "GROUPS", key):
        facts = {name.decode(): value for name, value in zip(group[::2], group[1::2], strict=True)}
        if facts["name"] == GROUP.encode():
            return facts
    return None


def _unread(link: Link, key: str) -> Count:
    """Count what no consumer has had: events by the running number `at` of the first and the last such entry."""
    group = group_of(link, key)
    after = group["last-delivered-id"].decode() if group else "0-0"
    first = link.call("XRANGE", key, f"({after}", "+", "COUNT", 1)
    if not first:
        return Count(0, 0)
    last = link.call("XREVRANGE", key, "+", f"({after}", "COUNT", 1)
    events = _number(last[0], b"at") - _number(first[0], b"at") + _number(first[0], b"n")
    entries = group.get("lag") if group else link.call("XLEN", key)
    if entries is None:  # before Redis 7, or after entries were deleted
        entries = sum(1 for _ in _range(link, key, f"({after}"))
    return Count(entries, max(0, events))


def _range(link: Link, key: str, start: str) -> Iterator[Any]:
    while page := link.call("XRANGE", key, start, "+", "COUNT", _PAGE):
        yield from page
        start = f"({page[-1][0].decode()}"


def _pending(link: Link, key: str) -> Count:
    """Count what consumers have had and not acknowledged, by the entries' own `n`."""
    if group_of(link, key) is None:
        return Count(0, 0)
    entries = events = 0
    start = "-"
    while page := link.call("XPENDING", key, GROUP, start, "+", _PAGE):
        for entry_id, *_ in page:
            found = link.call("XRANGE", key, entry_id, entry_id)
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
