"""The worker's loop: read → rows → append → fsync → commit → rotate if due (design section 5).

Owns the open files and the connection. What survives a crash is the commit record on the server, the journal and the
files; the loop itself remembers nothing that it could not learn from them. The order of `step` is the promise: rows are
durable before the commit acknowledges their entries, and a commit says how much of each file counts.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from schemas.events import TYPES
from worker.batch import Batch, BatchSize, Renderer
from worker.directory import Directory
from worker.errors import AlreadyWritten, Behind, DiskTrouble, Fenced, FileBusy, StreamUnavailable, Taken
from worker.files import Files, require_open
from worker.joining import Committed, Joining
from worker.journal import Journal
from worker.log import event
from worker.patience import Patience, Pauses
from worker.reader import Reader
from worker.records import Closing, FileState, Record
from worker.rotation import Reason, rotation_reason
from worker.scan import put_back_forgotten, scan
from worker.schedule import Job, Schedule
from worker.settings import RotationSettings
from worker.stream import Entries, Stream

_log = logging.getLogger(__name__)

_DISK_CHECK_SECONDS = 1.0
_SUMMARY_SECONDS = 60

#: What a recovery answers: after each of these the record alone tells what is committed.
RECOVERABLE = (StreamUnavailable, Fenced, Behind, Taken, AlreadyWritten, DiskTrouble, FileBusy)


class Totals(msgspec.Struct):
    """What this process has committed, for the summary."""

    events: int = 0
    rows: int = 0
    dead: int = 0
    lost: int = 0
    batches: int = 0


class Worker:
    """One consumer of one partition, writing into one directory."""

    def __init__(  # noqa: PLR0913
        self, stream: Stream, files: Files, renderer: Renderer, rotation: RotationSettings, *,
        directory: Directory, size: BatchSize, lease_seconds: int, pauses: Pauses | None = None,
        chores: Sequence[Job] = (),
    ) -> None:  # fmt: skip
        self._stream = stream
        self._files = files
        self._renderer = renderer
        self._rotation = rotation
        self._directory = directory
        self._patience = Patience(pauses or Pauses(), lambda: self._stopping)
        self._journal = Journal(directory.path, directory.consumer, directory.id, self._monotonic)
        self._committed = Committed()
        self._joining = Joining(
            stream, files, directory, self._journal, self._committed, patience=self._patience,
            lease_seconds=lease_seconds, is_stopping=lambda: self._stopping,
        )  # fmt: skip
        self._reader = Reader(
            stream, renderer, size, look_around=self._look_around, look_every_seconds=lease_seconds / 3,
            monotonic=self._monotonic,
        )  # fmt: skip
        self._schedule = Schedule(rotation, (*chores, Job("summary", _SUMMARY_SECONDS, self.summarize)))
        self._in_hand: Batch | None = None  # rendered, not appended
        self._check_disk_at = 0.0
        self._batch_bytes = size.max_bytes
        self._is_disk_doubted = False
        self._born: dict[str, float] = {}  # by file name: when it was made, or adopted from a record; monotonic
        self._started = False  # the files of an earlier process are sealed, new ones are born
        self._stopping = False
        self._asked = False  # to rotate now
        self.totals = Totals()

    def stop(self) -> None:
        """Ask the loop to finish the batch in hand, commit, seal and return; safe in a signal handler."""
        self._stopping = True

    def rotate(self) -> None:
        """Ask the loop to rotate the files that have rows, soon; safe in a signal handler."""
        self._asked = True

    def run(self) -> None:
        """Work until stopped. Raises NameTaken, DirectoryRefused and ServerRefused; all else is recovered from."""
        self._schedule.start()
        try:
            sound, closed = self.recover(), False
            while sound and not closed:
                try:
                    closed = self._step_or_close()
                except RECOVERABLE as error:
                    sound = self.recover(error)
            self.summarize()
        finally:
            self.release()

    def _step_or_close(self) -> bool:
        """Do one batch, or close where a stop was asked for and no batch is in hand; True once it is closed."""
        if self._in_hand or not self._stopping:
            self.step()
            return False
        self._close()
        return True

    def release(self) -> None:
        """Give up locks, timers and connection as they are, as the death of the process would."""
        self._schedule.stop()
        self._journal.close()
        self._files.release()
        self._stream.close()

    # Batch: steps 7, 8 and 15

    def step(self) -> None:
        """Do one batch, or wait a little where there is none."""
        self._check_disk()
        wakes = self._stopping or self._schedule.take_due()
        batch = self._in_hand or self._reader.next_batch(wait=not wakes)
        self._in_hand = None
        if batch is None:
            self._rotate_due()
            self._drop_sealed()
            self._journal.sync()
            self._patience.went_well()
            return
        require_open(self._files, set(batch.parts))
        ahead = not self._stopping and self._reader.request_ahead(batch)
        states = self._files.append(batch)
        entries = self._reader.receive_ahead() if ahead else {}
        self._in_hand = self._commit_batch(batch, states, entries)
        self._rotate_due()
        self._patience.went_well()

    def _commit_batch(self, batch: Batch, states: Mapping[str, FileState], entries: Entries) -> Batch | None:
        """Commit a batch that was appended; returns the one that follows it, of these entries.

        Where the server says that entries of it have rows already, those are cut off again, and the others committed.
        """
        following = None
        while True:
            record = self._next_record(batch, states)
            keys = {event_type: part.event_ids for event_type, part in batch.parts.items() if part.event_ids}
            self._journal.intend(record.batch, int(self._patience.pauses.wall() * 1000), keys)
            self._stream.send_commit(record, batch.parts, ahead=entries)
            following = following or self._reader.render(entries)  # while the server commits
            try:
                self._stream.receive_commit()
            except AlreadyWritten as error:
                if not batch.entries:
                    raise  # read before the server forgot: a recovery reads it again
                batch = self._renderer.without(batch, error.keys)
                self._files.cut_back()
                states = self._files.append(batch)
            else:
                break
        self._acknowledged(record)
        self._count(batch)
        return following

    def _next_record(self, batch: Batch, states: Mapping[str, FileState]) -> Record:
        """Return the record that the commit of a batch puts in the place of the present one."""
        current = self._current()
        total = dict(current.total)
        for event_type, part in batch.parts.items():
            total[event_type] = total.get(event_type, 0) + part.row_count
        return current.next(files=states, through=batch.through(current.through), total=total)

    def _look_around(self) -> None:
        """Take over from consumers whose lease is gone, and end files whose writers are dead (steps 15 and 16).

        The reader calls this, only while no batch is in hand and none is on its way (protocol traps 1 and 21).
        """
        self._check_server()  # an eviction policy can be set at any time
        for taken in self._stream.take_over():
            event(_log, "consumer.taken_over", logging.WARNING, **taken._asdict())
        try:
            scan(self._directory, self._files, self._stream)
        except OSError as error:
            raise DiskTrouble(f"{error.filename}: {error.strerror}") from error

    def _check_server(self) -> None:
        for warning in self._stream.check_server():
            event(_log, "server.warning", logging.WARNING, what=warning)

    def _check_disk(self) -> None:
        """Pause before the disk is full, and where the directory, or an open file, is not what it was."""
        now = self._monotonic()
        if now >= self._check_disk_at:
            self._directory.check()
            self._files.require_unchanged()
            self._check_disk_at = now + _DISK_CHECK_SECONDS

    def _monotonic(self) -> float:
        return self._patience.pauses.monotonic()

    def _current(self) -> Record:
        if self._committed.record is None:
            raise StreamUnavailable("no record was adopted")
        return self._committed.record

    def _commit(self, record: Record) -> None:
        """Commit a record that acknowledges no entries."""
        self._journal.intend(record.batch, int(self._patience.pauses.wall() * 1000), {})
        self._stream.send_commit(record, {})
        self._stream.receive_commit()
        self._acknowledged(record)

    def _acknowledged(self, record: Record) -> None:
        self._committed.record = record
        self._files.acknowledged(record)
        self._journal.acknowledge(record)

    def _count(self, batch: Batch) -> None:
        self.totals.batches += 1
        for event_type, part in batch.parts.items():
            self.totals.events += part.event_count
            self.totals.rows += part.row_count
            self.totals.dead += part.dead_count
            self.totals.lost += len(part.lost)  # which, and how many, a chore tells: others meet such entries too
            if part.dead:
                event(_log, "events.dead", logging.WARNING, type=event_type, events=part.dead_count)

    # New files, rotation, seal: steps 12 to 14

    def _rotate_due(self) -> None:
        """Rotate the files that are due, whatever a timer says: those go by the wall clock, which can be set back.

        What was asked for is done without archiving too, and is asked for until it is done.
        """
        if self._asked:
            self._renew(
                {event_type: Reason.COMMAND for event_type, file in self._files.open.items() if file.state.rows}
            )
            self._asked = False
            return
        if not self._rotation.archiving:
            return
        now, wall = self._monotonic(), datetime.fromtimestamp(self._patience.pauses.wall(), UTC)
        reasons = {
            event_type: reason
            for event_type, file in self._files.open.items()
            if (reason := rotation_reason(self._rotation, file.state, now - self._born[file.path.name], wall))
        }
        if reasons:
            self._renew(reasons)

    def _renew(self, reasons: Mapping[str, Reason]) -> None:
        """Replace the open files of these types by new ones, in one commit, and seal the old ones."""
        if not reasons:
            return
        record = self._current()
        old = [
            Closing(event_type=event_type, reason=reason, file=self._files.cut_open(event_type))
            for event_type, reason in reasons.items()
            if event_type in self._files.open
        ]
        new = {event_type: self._create(event_type) for event_type in reasons}
        self._commit_and_seal(record.next(files={**record.files, **new}, closing=old))
        self._note_births()

    def _create(self, event_type: str) -> FileState:
        """Make a new file. Its age counts from here: what follows may fail, and a recovery adopt it."""
        state = self._files.create(event_type)
        self._born[state.name] = self._monotonic()
        if self._rotation.archiving:
            self._schedule.arm(event_type)
        return state

    def _note_births(self) -> None:
        """Keep the births of the open files; one that this process did not make is as old as its adoption."""
        now = self._monotonic()
        names = [file.path.name for file in self._files.open.values()]
        self._born = {name: self._born.get(name, now) for name in names}

    def _drop_sealed(self) -> None:
        """Let the record drop the files that are sealed: the next batch would, but none may come for long."""
        if self._files.are_some_just_sealed:
            self._commit(self._current().next())

    def _commit_and_seal(self, record: Record) -> None:
        """Commit a record that names files under `closing`, then seal them; the next record drops them."""
        self._commit(record)
        self._journal.sync()  # which files there are is known on disk before the first row of a new one
        for closing in record.closing:
            self._files.seal(closing)
        self._committed.record = msgspec.structs.replace(record, closing=[])

    def _close(self) -> None:
        """Seal the open files and let the lease go; only after a step or recovery that ended well.

        Where that fails half-way, the recovery makes the files what the record says, and this is done again.
        """
        old = [
            Closing(event_type=event_type, reason=Reason.STOP, file=self._files.cut_open(event_type))
            for event_type in list(self._files.open)
        ]
        self._commit_and_seal(self._current().next(files={}, closing=old))
        self._commit(self._current().next())
        self._journal.sync()
        self._stream.release_lease()

    # Recovery: steps 2 to 6, and 9 and 10

    def recover(self, error: Exception | None = None) -> bool:
        """Register and make the files what the record says; unless stopping, have one open file per type.

        Retries until it is done. Returns False where a stop cannot wait for that: then nothing may be cut, the record
        was not seen. One that has not begun to work has nothing to seal, and does not wait at all.
        """
        while True:
            if error is not None:
                self._is_disk_doubted |= isinstance(error, DiskTrouble)
                can_wait = self._patience.wait_out(error)
                if self._stopping and not (can_wait and self._started):
                    event(_log, "worker.stopped_early", logging.WARNING, next="the next start finishes it")
                    return False
            try:
                self._recover_once()
            except RECOVERABLE as again:
                error = again
            else:
                return True

    def _recover_once(self) -> None:
        self._in_hand = None
        self._prove_disk()
        self._stream.open()
        self._check_server()
        is_first = self._committed.record is None
        self._joining.join()
        if not is_first:
            self._reader.survived()
        self._note_births()
        if not self._stopping:
            self._open_missing()
            self._joining.enter(put_back_forgotten=lambda: put_back_forgotten(self._directory, self._stream))

    def _prove_disk(self) -> None:
        """Make sure that a batch could be written, before anything renews the lease or takes entries.

        After trouble with the disk nothing else shows that it is over: without entries there is nothing to write.
        """
        self._directory.check()
        if self._is_disk_doubted:
            self._directory.prove_writable(self._batch_bytes)
        self._is_disk_doubted = False

    def _open_missing(self) -> None:
        """Have one open file per type that can be trusted; at a start new ones, whatever was left open before."""
        missing = [event_type for event_type in TYPES if not self._started or event_type not in self._files.open]
        doubted = {
            event_type: Reason.CHANGED if file.is_changed else Reason.DISK
            for event_type, file in self._files.open.items()
            if file.is_doubted or file.is_changed
        }
        self._renew(doubted | dict.fromkeys(missing, Reason.START))
        if not self._started:
            event(_log, "worker.ready", files=",".join(file.path.name for file in self._files.open.values()))
        self._started = True

    def summarize(self) -> None:
        """Log what this process has done so far."""
        event(_log, "worker.summary", **msgspec.structs.asdict(self.totals))
