"""Commit records, with what the server knows of those who wrote them, and which of them tell nothing any more.

Where a consumer group is gone, the records tell how far it was: each consumer has acknowledged what it was given
through some id. A record counts on for ever otherwise: that of a directory which its consumer has left, or of a
consumer that is long gone and whose entries others have taken over.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from worker import records
from worker.fields import is_count
from worker.records import Record
from worker.stream.clock import server_ms
from worker.stream.keys import Keys
from worker.stream.link import Link
from worker.stream.time_line import is_steady

DAY_MS = 86_400_000
_LONG_MS = 7 * DAY_MS  # within seconds of its end, others take over what a consumer has in hand


class Owner(NamedTuple):
    """Who has a consumer's name."""

    registered_ms: int  # or fenced, by the server's clock
    home: str  # the directory; empty: unknown
    stored: bytes


class Known(NamedTuple):
    """A record, its consumer, and when that was last heard of."""

    consumer: str
    directory: str
    record: Record
    stored: bytes
    home: str  # the directory in which the consumer works now; empty: unknown
    seen_ms: int  # by the server's clock where it has an epoch, else by that of the worker
    is_alive: bool  # its lease lives


_NOBODY = Owner(0, "", b"")


def trusted_ms(link: Link, keys: Keys) -> int | None:
    """Return the server's time; None while its clock has not gone along for long with the time that passed."""
    return server_ms(link) if is_steady(link, keys, _LONG_MS) else None


def owners(link: Link, keys: Keys) -> dict[str, Owner]:
    """Return who has each consumer's name."""
    reply = link.call("HGETALL", keys.owners)
    found = {}
    for name, value in zip(reply[::2], reply[1::2], strict=True):
        epoch, _, home = value.decode("utf-8", "replace").partition(" ")
        if is_count(epoch):  # not the placeholder, nor what somebody else wrote
            # An epoch is the server's clock in µs, or later.
            found[name.decode("utf-8", "replace")] = Owner(int(epoch) // 1000, home, value)
    return found


def read(link: Link, keys: Keys) -> list[Known]:
    """Return every record that can be read, but for those of retired consumers."""
    reply, known = link.call("HGETALL", keys.records), owners(link, keys)
    found = []
    for name, stored in zip(reply[::2], reply[1::2], strict=True):
        consumer, _, directory = name.decode("utf-8", "replace").partition(" ")
        record = None
        with suppress(msgspec.DecodeError):  # the placeholder
            record = records.decode(stored)
        if record is not None and not record.is_retired:
            owner = known.get(consumer, _NOBODY)
            seen_ms = max(owner.registered_ms, record.committed_ms or 0)
            is_alive = bool(link.call("EXISTS", keys.lease(consumer)))
            found.append(Known(consumer, directory, record, stored, owner.home, seen_ms, is_alive))
    return found


def is_superseded(one: Known, known: Sequence[Known]) -> bool:
    """Tell whether a record's consumer works in another directory by now, and has a record there that says as much."""
    return bool(one.home) and one.home != one.directory and any(
        other.record.through.keys() >= one.record.through.keys()
        for other in known
        if (other.consumer, other.directory) == (one.consumer, one.home)
    )  # fmt: skip


def acknowledged_through(known: Sequence[Known], event_type: str, now_ms: int | None) -> str | None:
    """Return the lowest id that all consumers have acknowledged through, None where no record tells.

    Consumers that were silent for long by `now_ms`, the server's time, do not count, if others were not: these have
    taken over from them long ago. Without a time that can be trusted all count: rows may stand twice, and none is lost.
    """
    current = [one for one in known if event_type in one.record.through and not is_superseded(one, known)]
    lately = [one for one in current if now_ms is None or one.is_alive or now_ms - one.seen_ms < _LONG_MS]
    ids = [one.record.through[event_type] for one in lately or current]
    return min(ids, key=records.id_order, default=None)
