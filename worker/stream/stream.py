"""The streams of one partition, as one consumer reads and commits them (design sections 3 to 5).

Owns the connection. Nothing here survives a crash and nothing is retried: after StreamUnavailable the caller opens
the stream again, registers, and lets the record say what ran.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from typing import NamedTuple

import msgspec

from schemas.events import TYPES
from worker import records
from worker.batch import Part
from worker.decode import RawEntry
from worker.errors import Behind, Fenced, NameTaken, ServerRefused, StreamUnavailable
from worker.records import Record
from worker.settings import StreamSettings
from worker.stream.keys import COUNTERS, GROUP, PLACEHOLDER, Keys
from worker.stream.link import Connector, Link, Refused, connector

Entries = dict[str, list[RawEntry]]


class Registration(NamedTuple):
    """What `register` gave: the fencing token, and what was committed for this consumer and directory."""

    epoch: bytes
    record: Record | None


class Script:
    """A Lua script of this package, by the digest that Redis knows it by."""

    def __init__(self, name: str) -> None:
        self.source = resources.files("worker.stream").joinpath("scripts", f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


class Stream:
    """A consumer's connection to its partition."""

    def __init__(
        self,
        settings: StreamSettings,
        consumer: str,
        *,
        url: str,
        wanted: Sequence[str] = (),
        connect: Connector | None = None,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._wanted = wanted  # message headers that the columns show: the plugins keep them
        self.keys = Keys.of(settings.partition)
        self._types = {key.encode(): event_type for event_type, key in self.keys.streams.items()}
        self._link = Link(connect or connector(settings, url))
        self._register = Script("register")
        self._commit = Script("commit")
        self._registered: tuple[str, bytes] | None = None  # directory id, epoch

    def open(self) -> None:
        """Connect, load the scripts, and make every key that a script names exist."""
        self._registered = None
        self._link.open()
        for script in (self._register, self._commit):
            self._link.call("SCRIPT", "LOAD", script.source)
        self._set_up()

    def close(self) -> None:
        """Give the connection up."""
        self._link.close()

    def _set_up(self) -> None:
        """Create what is missing; changes nothing that exists (design section 3, placeholders).

        Looks before it writes: a server at maxmemory refuses even writes that would change nothing, and must still
        be drained.
        """
        keys = self.keys
        counters = [f"{event_type}:{counter}" for event_type in TYPES for counter in COUNTERS]
        for counter, value in zip(counters, self._link.call("HMGET", keys.ledger, *counters), strict=True):
            if value is None:
                self._link.call("HSETNX", keys.ledger, counter, 0)
        if not self._link.call("EXISTS", keys.epoch):
            self._link.call("SETNX", keys.epoch, 0)
        for key in (keys.producers, keys.owners, keys.records):
            if not self._link.call("EXISTS", key):
                self._link.call("HSETNX", key, PLACEHOLDER, "")
        for header in (PLACEHOLDER, *self._wanted):
            if not self._link.call("SISMEMBER", keys.wanted, header):
                self._link.call("SADD", keys.wanted, header)
        if not self._link.call("EXISTS", keys.dead):
            self._link.call("XGROUP", "CREATE", keys.dead, GROUP, "$", "MKSTREAM")
            self._link.call("XGROUP", "DESTROY", keys.dead, GROUP)
        for event_type in TYPES:
            self._create_group(event_type)

    def _create_group(self, event_type: str) -> None:
        """Create the consumer group of a stream at its beginning, unless it exists.

        Raises ServerRefused where rows were committed before: a group at `0` would write all of them again.
        """
        key = self.keys.streams[event_type]
        if self._link.call("EXISTS", key):
            groups = self._link.call("XINFO", "GROUPS", key)
            if any(GROUP.encode() in group for group in groups):
                return
        counts = self._link.call("HMGET", self.keys.ledger, *(f"{event_type}:{name}" for name in ("events", "dead")))
        if any(int(count or 0) for count in counts):
            raise ServerRefused(
                f"{key}: consumer group {GROUP} is gone, though {counts[0].decode()} events were committed; "
                f"create it at the first id that has no row: XGROUP CREATE {key} {GROUP} <id>"
            )
        try:
            self._link.call("XGROUP", "CREATE", key, GROUP, "0", "MKSTREAM")
        except Refused as error:
            if "BUSYGROUP" not in str(error):  # another worker was quicker
                raise

    def check_server(self) -> list[str]:
        """Look at the server's settings; returns warnings.

        Raises ServerRefused for an eviction policy that deletes streams.
        """
        try:
            info = _info(self._link.call("INFO", "memory")) | _info(self._link.call("INFO", "persistence"))
        except Refused as error:
            return [f"eviction policy and appendonly could not be checked: {error}"]
        policy = info.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys-"):
            message = f"eviction policy {policy} deletes whole streams; expected noeviction or a volatile-* policy"
            raise ServerRefused(message)
        if info.get("aof_enabled") == "0":
            return ["appendonly is off: a crash of the server loses what it had not saved"]
        return []

    def register(self, directory: str, *, renew: bool) -> Registration:
        """Take the consumer's name; every earlier registration is fenced off from here on.

        Raises NameTaken where `renew` finds another directory as its owner.
        """
        keys = self.keys
        reply = self._link.call(
            "EVALSHA", self._register.sha, 3, keys.epoch, keys.owners, keys.records,
            self._consumer, directory, int(renew),
        )  # fmt: skip
        if reply[0] == b"REFUSED":
            holder = reply[1].decode()
            raise NameTaken(f"consumer {self._consumer} now works in directory {holder}, this one is {directory}")
        self._registered = (directory, reply[1])
        try:
            return Registration(reply[1], records.decode(reply[2]))
        except msgspec.MsgspecError as error:
            message = f"{keys.records}: the record of {self._consumer} {directory} cannot be read: {error}"
            raise ServerRefused(message) from error

    def request_new(self, count: int, *, block: bool) -> None:
        """Ask for entries that no consumer has had; with `block`, wait for some for a while."""
        wait = ("BLOCK", self._settings.block_ms) if block else ()
        self._request(count, wait, [">"] * len(TYPES))

    def read_pending(self, count: int, after: Mapping[str, bytes]) -> Entries:
        """Return entries that this consumer has had and not acknowledged, after an id in each stream."""
        self._request(count, (), [after.get(event_type, b"0") for event_type in TYPES])
        return self.receive_entries()

    def _request(self, count: int, wait: Sequence[object], ids: Sequence[object]) -> None:
        self._link.send(
            "XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count, *wait,
            "STREAMS", *self.keys.streams.values(), *ids,
        )  # fmt: skip

    def receive_entries(self) -> Entries:
        """Return the entries asked for before, by type; types without entries are left out."""
        reply = self._link.receive() or ()
        return {self._types[key]: entries for key, entries in reply if entries}

    def send_commit(self, record: Record, parts: Mapping[str, Part], *, restore: bool = False) -> None:
        """Send the commit of a batch; `receive_commit` tells what became of it."""
        if self._registered is None:
            raise StreamUnavailable("not registered")
        directory, epoch = self._registered
        record = msgspec.structs.replace(record, committed_ms=time.time_ns() // 1_000_000)
        keys = self.keys
        arguments: list[object] = []
        for event_type in TYPES:
            arguments += _counts(event_type, parts.get(event_type))
        dead = [letter for part in parts.values() for letter in part.dead]
        arguments += (len(dead), *(item for letter in dead for item in letter))
        self._link.send(
            "EVALSHA", self._commit.sha, 5 + len(TYPES),
            keys.owners, keys.records, keys.lease(self._consumer), keys.ledger, keys.dead, *keys.streams.values(),
            self._consumer, directory, epoch, int(restore), record.batch, records.encode(record),
            self._settings.lease_seconds * 1000, GROUP, *arguments,
        )  # fmt: skip

    def receive_commit(self) -> None:
        """Return once the commit is done; raises Fenced or Behind where it was refused.

        A commit is sent once only, so that a copy of it ran before can only mean that another process has the name.
        """
        match self._link.receive():
            case b"OK":
                return
            case b"FENCED" | b"ALREADY":
                raise Fenced
            case b"BEHIND":
                raise Behind
            case reply:
                raise StreamUnavailable(f"commit answered {reply!r}")

    def renew_lease(self) -> None:
        """Say that this consumer is alive, though nothing was to commit."""
        key, lease_ms = self.keys.lease(self._consumer), self._settings.lease_seconds * 1000
        if self._link.call("PEXPIRE", key, lease_ms):
            return
        epoch = self._registered[1] if self._registered else b""
        with suppress(Refused):  # at maxmemory; the next commit sets it
            self._link.call("SET", key, epoch, "PX", lease_ms)

    def release_lease(self) -> None:
        """Let others take over at once."""
        self._link.call("DEL", self.keys.lease(self._consumer))


def _counts(event_type: str, part: Part | None) -> list[object]:
    """Return what the commit script wants to know of one stream."""
    if part is None:
        return [event_type, 0, 0, 0, 0, 0]
    return [
        event_type, part.event_count, part.row_count, len(part.dead), part.lost, len(part.ids), *part.ids,
    ]  # fmt: skip


def _info(reply: bytes) -> dict[str, str]:
    """Parse a section of INFO."""
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}
