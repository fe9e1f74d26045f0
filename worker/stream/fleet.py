"""What a worker does for others of its fleet: entries of consumers that are gone, files of workers that are dead."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from schemas.events import TYPES
from worker import records
from worker.errors import Fenced
from worker.fields import shown
from worker.records import Record
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Link
from worker.stream.script import Script

TAKE_OVER_AT_MOST = 4000  # entries of each stream at once

_take_over, _seize, _forget, _put_back = map(Script, ("take_over", "seize", "forget", "put_back"))
SCRIPTS = (_take_over, _seize, _forget, _put_back)


class TakenOver(NamedTuple):
    """What was taken over from a consumer."""

    owner: str
    entries: int
    lost: int  # pending entries that somebody had deleted


class Unreadable(NamedTuple):
    """A record of the directory that no worker wrote: what stands in its place on the server is nobody's word."""

    consumer: str
    why: str  # names the key, the consumer and the field


class Seized(NamedTuple):
    """A dead worker's record, its consumer fenced off."""

    consumer: str
    record: Record
    stored: bytes


def dated(record: Record) -> Record:
    """Return a record with the time of its commit, for people to read."""
    return msgspec.structs.replace(record, committed_ms=time.time_ns() // 1_000_000)


def consumers_without_lease(link: Link, keys: Keys, me: str) -> list[bytes]:
    """Return the other consumers that have pending entries and no lease, whatever somebody called them."""
    owners: set[bytes] = set()
    for key in keys.streams.values():
        for reply in link.call("XINFO", "CONSUMERS", key, GROUP):
            facts = dict(zip(reply[::2], reply[1::2], strict=True))
            if facts[b"pending"]:
                owners.add(facts[b"name"])
    return sorted(owner for owner in owners - {me.encode()} if not link.call("EXISTS", _lease(keys, owner)))


def _lease(keys: Keys, consumer: bytes) -> bytes:
    return keys.lease_prefix.encode() + consumer


def take_over(link: Link, keys: Keys, me: tuple[str, str, bytes], owner: bytes) -> TakenOver | None:
    """Take the pending entries of a consumer whose lease is gone; None where it has come back.

    `me` is my consumer name, directory id and epoch. Raises Fenced where that is not mine any more.
    """
    reply = link.call(
        "EVALSHA", _take_over.sha, 5 + len(TYPES),
        keys.epoch, keys.owners, _lease(keys, owner), keys.ledger, keys.watch, *keys.streams.values(),
        *me, owner, GROUP, TAKE_OVER_AT_MOST, *TYPES,
    )  # fmt: skip
    match reply[0]:
        case b"OK":
            return TakenOver(shown(owner.decode("utf-8", "backslashreplace")), reply[1], reply[2])
        case b"FENCED":
            raise Fenced
        case _:
            return None


def abandoned(link: Link, keys: Keys, directory: str, me: str) -> list[tuple[str, Record]]:
    """Return the records of a directory that name files and whose consumers have no lease, with the consumers' names.

    What this version cannot read is left to the one that wrote it (`unreadable`).
    """
    return [
        (consumer, record)
        for consumer, record in others(link, keys, directory, me)
        if isinstance(record, Record) and record.named and not link.call("EXISTS", keys.lease(consumer))
    ]


def others(link: Link, keys: Keys, directory: str, me: str) -> Iterator[tuple[str, Record | Unreadable]]:
    """Yield what the server has as the records of the other consumers of a directory."""
    reply = link.call("HGETALL", keys.records)
    for name, value in zip(reply[::2], reply[1::2], strict=True):
        consumer, _, of = name.decode("utf-8", "backslashreplace").partition(" ")
        if of != directory or consumer == me:
            continue
        try:
            record = records.decode(value)
        except msgspec.DecodeError as error:
            yield (
                consumer,
                Unreadable(consumer, f"{keys.records}: the record of {shown(consumer)} {directory}: {error}"),
            )
        else:
            if record:
                yield consumer, record


def seize(link: Link, keys: Keys, me: tuple[str, str, bytes], event_type: str, name: str) -> Seized | None:
    """Return the record that names a file of this directory, after fencing its consumer; None where none does.

    What no worker wrote names nothing.
    Only with the file's lock held, or once the file is sealed. Raises Fenced where `me` is not mine any more.
    """
    consumer, directory, epoch = me
    reply = link.call(
        "EVALSHA", _seize.sha, 3, keys.epoch, keys.owners, keys.records, directory, event_type, name, consumer, epoch
    )  # fmt: skip
    if not reply:
        return None
    if reply == [b"FENCED"]:
        raise Fenced
    try:
        record = records.decode(reply[1])
    except msgspec.DecodeError:
        return None
    return Seized(reply[0].decode("utf-8", "backslashreplace"), record, reply[1]) if record else None


def put_back(link: Link, keys: Keys, me: tuple[str, str, bytes], consumer: str, record: Record) -> bool:
    """Put a dead consumer's record of this directory back; False where the server has it, a newer one, or garbage.

    Only with the lock on the consumer's name held. Raises Fenced where `me` is not mine any more.
    """
    if any(name == consumer and isinstance(found, Unreadable) for name, found in others(link, keys, me[1], me[0])):
        return False
    reply = link.call(
        "EVALSHA", _put_back.sha, 6, keys.epoch, keys.owners, keys.records, keys.ledger, keys.history, keys.written,
        *me, consumer, records.encode(dated(record)), record.batch, *TYPES,
    )  # fmt: skip
    if reply == b"FENCED":
        raise Fenced
    return bool(reply == 1)


def forget(link: Link, keys: Keys, directory: str, seized: Seized, record: Record) -> bool:
    """Replace a seized record by one without the file; False where its consumer has written another meanwhile."""
    arguments = (seized.consumer, directory, seized.stored, records.encode(record))
    return bool(link.call("EVALSHA", _forget.sha, 1, keys.records, *arguments))
