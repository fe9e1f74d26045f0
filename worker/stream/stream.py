"""The streams of one partition, as one consumer reads and commits them (design sections 3 to 5).

Owns the connection. Nothing here survives a crash and nothing is retried: after StreamUnavailable the caller opens
the stream again, registers, and lets the record say what ran.
"""

import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.events import TYPES
from worker import process_id, records
from worker.batch import Part
from worker.decode import RawEntry
from worker.errors import AlreadyWritten, Behind, Fenced, StreamUnavailable, Taken
from worker.event_keys import keys_of
from worker.records import Record
from worker.settings import StreamSettings
from worker.stream import fleet, registration, setup
from worker.stream.fleet import Seized, TakenOver, Unreadable
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link, connector
from worker.stream.registration import Arrival, Claim, Registration
from worker.stream.script import Script

Entries = dict[str, list[RawEntry]]


_register, _commit, _lease = Script("register"), Script("commit"), Script("lease")
_read_alone, _forgive, _set_aside = Script("read_alone"), Script("forgive"), Script("set_aside")
_arrive, _hand_in = Script("arrive"), Script("hand_in")

_KEYS_AT_ONCE = 4000


class Pending(NamedTuple):
    """An entry that was delivered and is not acknowledged."""

    event_type: str
    id: bytes
    deliveries: int


class Stream:
    """A consumer's connection to its partition."""

    def __init__(  # noqa: PLR0913
        self, settings: StreamSettings, consumer: str, *, url: str, wanted: Sequence[str] = (),
        connect: Connector | None = None, holder: str | None = None,
    ) -> None:  # fmt: skip
        """Take who holds the consumer's lease (`process_id`), where that is not to be made up here."""
        self._settings = settings
        self._consumer = consumer
        self._wanted = wanted  # message headers that the columns show: the plugins keep them
        self.keys = Keys.of(settings.partition)
        self._types = {key.encode(): event_type for event_type, key in self.keys.streams.items()}
        self._link = Link(connect or connector(settings, url))
        self._registered: tuple[str, bytes] | None = None  # directory id, epoch
        self._history = b""
        self._compares = False
        self._holder = holder or process_id.mine()
        self._warnings: list[str] = []  # of the last look at the server's settings

    def open(self) -> None:
        """Connect, load the scripts, and make every key that a script names exist."""
        self._registered = None
        self._link.open()
        mine = (_register, _commit, _lease, _read_alone, _forgive, _set_aside, _arrive, _hand_in)
        for script in (*mine, *fleet.SCRIPTS):
            self._link.call("SCRIPT", "LOAD", script.source)
        setup.set_up(self._link, self.keys, self._wanted)

    def close(self) -> None:
        """Give the connection up."""
        self._link.close()

    def check_server(self) -> list[str]:
        """Look at the server's settings; returns the warnings that the last look did not give.

        Raises ServerRefused for what loses streams.
        """
        before, self._warnings = self._warnings, setup.check_server(self._link)
        return [warning for warning in self._warnings if warning not in before]

    def other_directory(self, directory: str) -> str | None:
        """Return the directory in which another process holds this consumer's name, if its lease lives."""
        owner = self._link.call("HGET", self.keys.owners, self._consumer)
        holder = owner.decode("ascii", "replace").partition(" ")[2] if owner else ""
        if holder in {"", directory} or not self._link.call("EXISTS", self.keys.lease(self._consumer)):
            return None
        return holder

    def register(self, directory: str, claim: Claim, *, renew: bool) -> Registration:
        """Take the consumer's name; every earlier registration is fenced off from here on.

        The record is as safe as a commit has to be: one that only the primary has may be gone after a failover, and
        must not be adopted. Raises NameTaken where `renew` finds another directory as its owner, DirectoryRefused where
        another copy of the directory was started since, and where not `renew` DirectoryAtWork and ClaimedBefore.
        """
        keys = self.keys
        reply = self._link.call(
            "EVALSHA", _register.sha, 6, keys.epoch, keys.owners, keys.records, keys.history, keys.directories,
            keys.lease_prefix,
            self._consumer, directory, int(renew), str(claim.current), str(claim.next), " ".join(claim.held),
            " ".join(claim.gone), setup.run_id(self._link), self._settings.lease_seconds * 1000,
            socket.gethostname(), claim.path,
        )  # fmt: skip
        registration.require_accepted(reply, self._consumer, directory, claim)
        if wanted := self._settings.wait_replicas:
            self._require_replicas(self._link.call("WAIT", wanted, self._settings.wait_ms))
        found = registration.read(reply, f"{keys.records}: the record of {self._consumer} {directory}")
        self._registered, self._history, self._compares = (directory, found.epoch), found.history, found.compares
        return found

    def arrive(self, keys: Sequence[str], dead: Sequence[str] = (), *, waited_ms: int = 0) -> Arrival:
        """Hand in what stands in the files here, and tell whether to read on. Raises Fenced.

        `keys` are types and keys of entries, separated by a blank: also of those that the `dead` consumers of the
        directory wrote.
        """
        directory, epoch = self._identity()
        chunks = [keys[start : start + _KEYS_AT_ONCE] for start in range(0, len(keys), _KEYS_AT_ONCE)] or [()]
        twice: list[str] = []
        for chunk in chunks:
            reply = self._link.call(
                "EVALSHA", _arrive.sha, 6, self.keys.owners, self.keys.records, self.keys.history, self.keys.written,
                self.keys.watch, self.keys.lease(self._consumer), self._consumer, directory, epoch, self._history,
                int(chunk is chunks[-1]), waited_ms, self._settings.lease_seconds * 1000, self._holder, " ".join(dead),
                *chunk,
            )  # fmt: skip
            if reply[0] != b"OK":
                raise Fenced
            twice += (key.decode("utf-8", "replace") for key in reply[2])
        return Arrival(bool(reply[1]), twice)

    def hand_in(self, directory: str, record: Record, keys: Sequence[str]) -> None:
        """Hand the same in where the server has forgotten, without a registration: this process has lost its name."""
        to = (self.keys.records, self.keys.history, self.keys.written)
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            chunk = keys[start : start + _KEYS_AT_ONCE]
            self._link.call("EVALSHA", _hand_in.sha, len(to), *to, self._consumer, directory, record.batch, *chunk)

    @property
    def compares(self) -> bool:
        """Tell whether the server forgot lately, so that what comes is compared with what was written."""
        return self._compares

    def acknowledged_through(self) -> dict[str, str]:
        """Return, by type, the id through which all that was given to anybody is acknowledged."""
        return setup.acknowledged_through(self._link, self.keys)

    def request_new(self, count: int, *, block: bool) -> None:
        """Ask for entries that no consumer has had; with `block`, wait for some for a while."""
        wait = ("BLOCK", self._settings.block_ms) if block else ()
        self._request(count, wait, [">"] * len(TYPES))

    def pending(self, count: int) -> list[Pending]:
        """Return own entries that are not acknowledged, the oldest of each stream, with their delivery counts."""
        found: list[Pending] = []
        for event_type, key in self.keys.streams.items():
            page = self._link.call("XPENDING", key, GROUP, "-", "+", count, self._consumer)
            found += (Pending(event_type, entry_id, deliveries) for entry_id, _, _, deliveries in page)
        return found

    def read_pending(self, count: int) -> Entries:
        """Return own entries that are not acknowledged, again; each counts as delivered once more."""
        self._request(count, (), ["0"] * len(TYPES))
        return self.receive_entries()

    def read_alone(self, event_type: str, entry_id: bytes) -> Entries:
        """Return one own entry that is not acknowledged, again; it counts as delivered once more. Raises Fenced.

        Nothing is returned where it is not own any more.
        """
        directory, epoch = self._identity()
        reply = self._link.call(
            "EVALSHA", _read_alone.sha, 4, self.keys.owners, self.keys.ledger, self.keys.watch,
            self.keys.streams[event_type], self._consumer, directory, epoch, GROUP, event_type, entry_id,
        )  # fmt: skip
        if reply[0] != b"OK":
            raise Fenced
        return {event_type: reply[1]} if reply[1] else {}

    def set_aside(self, event_type: str, entry_id: bytes, error: str) -> None:
        """Make an own entry a dead letter without reading it. Raises Fenced."""
        directory, epoch = self._identity()
        keys = self.keys
        reply = self._link.call(
            "EVALSHA", _set_aside.sha, 5, keys.owners, keys.ledger, keys.dead, keys.watch, keys.streams[event_type],
            self._consumer, directory, epoch, GROUP, event_type, entry_id, error,
        )  # fmt: skip
        if reply != b"OK":
            raise Fenced

    def forgive(self, suspected_from: int, alone: Pending | None) -> None:
        """Set back the delivery counts of own pending entries: this process lives. Raises Fenced.

        Those that are suspected already keep theirs, except for the delivery of the one that it has read alone.
        """
        directory, epoch = self._identity()
        for event_type in TYPES:
            survived = alone.id if alone and alone.event_type == event_type else b""
            reply = self._link.call(
                "EVALSHA", _forgive.sha, 4, self.keys.owners, self.keys.ledger, self.keys.watch,
                self.keys.streams[event_type], self._consumer, directory, epoch, GROUP, event_type,
                fleet.TAKE_OVER_AT_MOST, suspected_from, survived,
            )  # fmt: skip
            if reply != b"OK":
                raise Fenced

    def take_over(self) -> list[TakenOver]:
        """Take the pending entries of consumers whose lease is gone. Raises Fenced."""
        me = (self._consumer, *self._identity())
        owners = fleet.consumers_without_lease(self._link, self.keys, self._consumer)
        taken = (fleet.take_over(self._link, self.keys, me, owner) for owner in owners)
        return [each for each in taken if each]

    def abandoned(self) -> list[tuple[str, Record]]:
        """Return the records of this directory that name files, of consumers whose lease is gone, and their names."""
        return fleet.abandoned(self._link, self.keys, self._identity()[0], self._consumer)

    @property
    def records_key(self) -> str:
        """Return where the server has the records."""
        return self.keys.records

    def unreadable(self) -> list[Unreadable]:
        """Return what stands in the place of records of this directory, and was written by no worker."""
        others = fleet.others(self._link, self.keys, self._identity()[0], self._consumer)
        return [each for _, each in others if isinstance(each, Unreadable)]

    def seize(self, event_type: str, name: str) -> Seized | None:
        """Fence the dead worker whose record names a file of this directory, which is locked here or sealed.

        Raises Fenced.
        """
        return fleet.seize(self._link, self.keys, (self._consumer, *self._identity()), event_type, name)

    def forget(self, seized: Seized, record: Record) -> bool:
        """Clear a seized file from its record, unless that has changed."""
        return fleet.forget(self._link, self.keys, self._identity()[0], seized, record)

    def put_back(self, consumer: str, record: Record) -> bool:
        """Put a dead consumer's record back; False where the server has it, or a newer one. Raises Fenced."""
        return fleet.put_back(self._link, self.keys, (self._consumer, *self._identity()), consumer, record)

    def _identity(self) -> tuple[str, bytes]:
        """Return directory id and epoch of the registration."""
        if self._registered is None:
            raise StreamUnavailable("not registered")
        return self._registered

    def _request(self, count: int, wait: Sequence[object], ids: Sequence[object]) -> None:
        self._link.send(
            "XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", count, *wait,
            "STREAMS", *self.keys.streams.values(), *ids,
        )  # fmt: skip

    def receive_entries(self) -> Entries:
        """Return the entries asked for before, by type; types without entries are left out."""
        reply = self._link.receive() or ()
        return {self._types[key]: entries for key, entries in reply if entries}

    def send_commit(
        self, record: Record, parts: Mapping[str, Part], *, ahead: Entries | None = None, restore: bool = False
    ) -> None:
        """Send the commit of a batch; `receive_commit` tells what became of it. `ahead` is what was read besides."""
        directory, epoch = self._identity()
        keys = self.keys
        arguments: list[object] = []
        for event_type in TYPES:
            part, also = parts.get(event_type), (ahead or {}).get(event_type, ())
            arguments += _counts(event_type, part)
            arguments += (len(part.ids) + len(also) if part else 0, self._keys_in(part))
        dead = [letter for part in parts.values() for letter in part.dead]
        arguments += (len(dead), *(item for letter in dead for item in letter))
        self._link.send(
            "EVALSHA", _commit.sha, 8 + len(TYPES), keys.owners, keys.records, keys.lease(self._consumer), keys.ledger,
            keys.dead, keys.watch, keys.history, keys.written, *keys.streams.values(),
            self._consumer, directory, epoch, int(restore), record.batch,
            records.encode(fleet.dated(record)),
            self._settings.lease_seconds * 1000, GROUP, self._history, self._holder, *arguments,
        )  # fmt: skip
        if self._settings.wait_replicas:
            self._link.send("WAIT", self._settings.wait_replicas, self._settings.wait_ms)

    def _keys_in(self, part: Part | None) -> str:
        """Return the keys of the entries of a part, where a server that forgot has to look at them."""
        return " ".join(keys_of(part.event_ids)) if part and self._compares else ""

    def receive_commit(self) -> None:
        """Return once the commit is done.

        Raises Fenced, Behind and Taken where it was refused, and AlreadyWritten where some of its entries have rows. A
        commit is sent once only, so that a copy of it ran before can only mean that another process has the name.
        """
        reply = self._link.receive()
        if self._settings.wait_replicas:
            self._require_replicas(self._link.receive())
        match reply:
            case [b"OK", history]:
                if history != self._history:  # a record that was put back: the server forgot
                    self._history, self._compares = history, True
            case [b"FENCED" | b"ALREADY"]:
                raise Fenced
            case [b"BEHIND"]:
                raise Behind
            case [b"TAKEN"]:
                raise Taken
            case [b"WRITTEN", *keys]:
                named = zip(TYPES, keys, strict=True)
                raise AlreadyWritten({name: set(text.decode().split(" ")) for name, text in named if text})
            case _:
                raise StreamUnavailable(f"commit answered {reply!r}")

    def _require_replicas(self, reached: int) -> None:
        """Raise StreamUnavailable where fewer replicas than configured have all that was written so far."""
        if reached < (wanted := self._settings.wait_replicas):
            raise StreamUnavailable(f"a commit reached {reached} of {wanted} replicas in {self._settings.wait_ms} ms")

    def renew_lease(self) -> None:
        """Say that this consumer is alive, though nothing was to commit. Raises Fenced."""
        if self._lease(self._settings.lease_seconds * 1000) != b"OK":
            raise Fenced

    def release_lease(self) -> None:
        """Let others take over at once; another registration's lease is left alone."""
        self._lease(0)

    def _lease(self, lease_ms: int) -> object:
        keys, consumer = self.keys, self._consumer
        return self._link.call(
            "EVALSHA", _lease.sha, 4, keys.owners, keys.lease(consumer), keys.history, keys.written,
            consumer, *self._identity(), lease_ms, self._history, self._holder,
        )  # fmt: skip


def _counts(event_type: str, part: Part | None) -> tuple[object, ...]:
    """Return what the commit script wants to know of one stream; ids as one argument, which is cheaper to send."""
    if part is None:
        return (event_type, 0, 0, 0, b"", 0, b"")
    lost, ids = b" ".join(part.lost), b" ".join(part.ids)
    return (event_type, part.event_count, part.row_count, part.dead_count, lost, part.foreign, ids)
