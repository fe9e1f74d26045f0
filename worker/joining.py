"""Joining: from a registration to files that are what the record says, and an open gate (design sections 5 to 7).

At a start, and after whatever made a commit uncertain. The order is the promise: register, and so fence off all that
was sent before; note in the journal which record holds; make the files what it says; put it back where the server
forgot it; hand in which events stand in the files; and only then read on.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from worker import identity, journal, locks, process_id, recovery
from worker.directory import Directory
from worker.errors import DirectoryAtWork, DirectoryRefused, DiskTrouble, NameHeld, NameTaken, ServerRefused
from worker.event_keys import keys_of
from worker.files import Files
from worker.identity import Token
from worker.journal import Journal
from worker.log import event
from worker.mending import strangers
from worker.patience import Patience
from worker.records import Record
from worker.salvage import note
from worker.stream import Claim, ClaimedBefore, Registration, Stream

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2  # at a gate that is closed
_LEASES = 3  # so many later, a consumer that is at work elsewhere is no dead one's lease
_NAMED = 5


@contextmanager
def _disk_trouble() -> Iterator[None]:
    """Turn what the disk answers into DiskTrouble."""
    try:
        yield
    except OSError as error:
        raise DiskTrouble(f"{error.filename}: {error.strerror}") from error


class Committed(msgspec.Struct):
    """What this process knows to be committed: the last record that was acknowledged or adopted."""

    record: Record | None = None


class Joining:
    """Registers one consumer in one directory, and brings it to where it can work."""

    def __init__(  # noqa: PLR0913
        self, stream: Stream, files: Files, directory: Directory, book: Journal, committed: Committed, *,
        patience: Patience, lease_seconds: int, is_stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._stream = stream
        self._files = files
        self._directory = directory
        self._journal = book
        self._committed = committed
        self._patience = patience
        self._lease_seconds = lease_seconds
        self._is_stopping = is_stopping
        self._is_claimed = False  # the directory, by this process
        self._alive_since: float | None = None  # a consumer that works in a copy of the directory; monotonic
        self._here: set[str] = set()  # consumers of the directory that work in this place, and not in a copy
        self._gone: set[str] = set()  # consumers whose processes are gone, though their leases live

    def join(self) -> None:
        """Register, and make the files what the record says; returns once entries may be read, or a stop is asked for.

        Raises Fenced and StreamUnavailable, DiskTrouble and FileBusy, after which it can be done again, and NameTaken,
        DirectoryRefused and ServerRefused.
        """
        with _disk_trouble():
            if self._is_claimed:
                registration = self._register_again()
            else:
                registration = self._claim()
                self._is_claimed, self._alive_since = True, None
            self._adopt(registration)

    def enter(self, *, put_back_forgotten: Callable[[], None]) -> None:
        """Hand in what stands in the files, and wait at the gate. Raises what `join` does."""
        with _disk_trouble():
            put_back_forgotten()
            path = self._directory.path
            dead = sorted(set(journal.consumers(path)) - locks.at_work(path))
            keys = self._written_here() if self._stream.compares else Counter[str]()
        arrival = self._stream.arrive(list(keys), dead)
        self._tell_twice([*(key for key, times in keys.items() if times > 1), *arrival.twice])
        began = self._patience.pauses.monotonic()
        if not arrival.is_open:
            event(_log, "gate.closed", logging.WARNING, why="the server may have forgotten: waiting for all workers")
        while not arrival.is_open and not self._is_stopping():
            self._patience.pauses.sleep(_LOOK_SECONDS)
            waited_ms = int((self._patience.pauses.monotonic() - began) * 1000)
            arrival = self._stream.arrive((), waited_ms=waited_ms)

    # The registration, steps 1, 2 and 10

    def _register_again(self) -> Registration:
        try:
            return self._stream.register(self._directory.id, self._shown(self._directory.identity()), renew=True)
        except (NameTaken, DirectoryRefused):
            self._hand_in()
            raise

    def _hand_in(self) -> None:
        """Say what was written here, before this process ends: the server may have forgotten it."""
        self._stream.hand_in(self._directory.id, self._committed.record or Record(), list(self._written_here()))

    def _claim(self) -> Registration:
        """Take the directory for this start: every copy of it is superseded from here on.

        A token is durable before it is claimed, and claimed again where nobody knows whether it was. One that stood
        there before this process read it may stand in a copy too: then another one is claimed behind it.
        """
        holder = self._stream.other_directory(self._directory.id)
        if holder:
            raise NameHeld(f"consumer name is held by a live worker in directory {holder}")
        with identity.locked(self._directory.path):
            known = self._directory.identity()
            is_pending = known.next.number > known.current.number
            while True:
                if not is_pending:
                    known = self._write(known, current=known.current, pending=known.current.successor())
                registration = self._try_to_register(known)
                known = self._write(known, current=known.next, pending=known.next)
                if registration and not is_pending:
                    return registration
                is_pending = False

    def _try_to_register(self, known: identity.Identity) -> Registration | None:
        """Claim the next token; None where it had been claimed before. Raises DirectoryAtWork, DirectoryRefused."""
        self._here, self._gone = set(), set()
        while True:
            try:
                return self._stream.register(self._directory.id, self._shown(known), renew=False)
            except ClaimedBefore:
                return None
            except DirectoryAtWork as alive:
                self._look_at(alive)

    def _look_at(self, alive: DirectoryAtWork) -> None:
        """Find out where a consumer of the directory works: here, or nowhere any more.

        Else raises DirectoryAtWork, after which its lease is waited for: its holder may be dead. One that is renewed is
        that of another copy: raises DirectoryRefused.
        """
        if locks.is_held_by(self._directory.path, alive.consumer, alive.holder):
            self._here.add(alive.consumer)
            return
        if process_id.is_gone(alive.holder):
            self._gone.add(alive.consumer)
            return
        now = self._patience.pauses.monotonic()
        if self._alive_since is None:
            self._alive_since = now
        if now - self._alive_since > _LEASES * self._lease_seconds:
            raise DirectoryRefused(
                f"{self._directory.path}: consumer {alive.consumer} works in the directory {self._directory.id}, and "
                "not here: this is a copy. Nothing here was touched. To use both: haraka-accounting directory new"
            )
        raise alive

    def _shown(self, known: identity.Identity) -> Claim:
        return Claim(known.current, known.next, self._here, self._gone, str(self._directory.path))

    def _write(self, known: identity.Identity, *, current: Token, pending: Token) -> identity.Identity:
        changed = msgspec.structs.replace(known, current=current, next=pending)
        identity.write(self._directory.path, changed)
        return changed

    # The files, steps 3 to 5 and 10

    def _adopt(self, registration: Registration) -> None:
        path, consumer = self._directory.path, self._directory.consumer
        told = journal.Told()
        if not self._journal.is_open:
            told = journal.read(path, consumer, self._directory.id)
        mine = self._committed.record or told.record
        plan = recovery.plan(mine, registration.record)
        self._refuse_strangers(plan.record)
        if plan.restore:
            event(_log, "server.lost_its_tail", logging.ERROR, commits=plan.lost_commits)
        if self._journal.is_open:
            self._journal.adopt(plan.record)
        else:
            self._journal.begin(plan.record, told.proven_by(registration.record).window)
        self._committed.record = plan.record  # whatever fails from here on, the server may forget it meanwhile
        adopted = self._files.adopt(plan.record, in_doubt=plan.restore or registration.compares)
        # Of what it is given from here on, one that has never acknowledged anything could not tell where that begins.
        adopted = msgspec.structs.replace(adopted, through=self._stream.acknowledged_through())
        self._committed.record = adopted
        if plan.restore:
            self._put_back(self._files.restorable(adopted))

    def _refuse_strangers(self, record: Record) -> None:
        """Raise ServerRefused for a record that names files which are not ours: no worker wrote it."""
        for event_type, state in strangers(self._directory, record):
            raise ServerRefused(
                f"{self._stream.records_key}: the record of {self._directory.consumer} {self._directory.id} names "
                f"{state.name!r} of {event_type}: expected a name that {self._directory.path} gave out. Nothing here "
                "was touched. Remove the field where somebody wrote it: the journal knows what is committed"
            )

    def _put_back(self, record: Record) -> None:
        self._stream.send_commit(record, {}, restore=True)
        self._stream.receive_commit()
        self._journal.acknowledge(record)

    # The gate

    def _written_here(self) -> Counter[str]:
        """Return types and keys of the entries that were written in this directory lately, and by how many consumers.

        By more than one where the server gave an entry out again before anybody knew that it had forgotten.
        """
        path, found = self._directory.path, Counter[str]()
        for consumer in journal.consumers(path):
            window = journal.read(path, consumer, self._directory.id).window
            texts = (pair for written in window for pair in written.keys.items())
            found.update({f"{event_type} {key}" for event_type, text in texts for key in keys_of(text)})
        return found

    def _tell_twice(self, twice: Sequence[str]) -> None:
        """Say which entries were written here, and by another worker too: their rows stand twice."""
        if not twice:
            return
        kept = note(
            self._directory.path, "twice", entries=twice, count=len(twice),
            why="written here, and again by another worker before this one could say so",
        )  # fmt: skip
        event(_log, "entries.twice", logging.ERROR, entries=len(twice), such_as=",".join(twice[:_NAMED]), note=kept)
