"""The scan of the own directory for files that dead workers left (design section 5, step 16).

A lock that can be had tells that the writer is dead, since it is held from before a file has a name. First the lock,
then the record: the other way round, the writer could have committed in between (protocol trap 10). Only names that
this directory gave out are looked at; anything else, such as the old plugin's files, is foreign and never touched.

A record can outlive its files: who seals one may die before the record drops it. So the records of consumers that are
gone are looked at as well, and what they name is cleared once it is certain that it is over. And files can outlive
their record, on a server that forgot: the journal of their consumer has it, and it is put back first.
"""

import logging
import os
from pathlib import Path
from typing import Protocol

import msgspec

from worker import journal, locks, mending, salvage
from worker.accounting_file import AccountingFile
from worker.archive import discard
from worker.directory import Directory
from worker.errors import Locked
from worker.files import Files
from worker.log import event
from worker.manifest import manifest_path
from worker.records import Closing, FileState, Record
from worker.rotation import Reason
from worker.stream import Seized, Unreadable

_log = logging.getLogger(__name__)

_STRANGER = "a record names it, and this directory never gave it out: left as it is"
_UNCLEAR = "no record names it that can be read: left until each can be, or is removed"


class Fence(Protocol):
    """What the scan needs of the stream."""

    def abandoned(self) -> list[tuple[str, Record]]:
        """Return the records of the directory that name files, of consumers whose lease is gone, and their names."""

    @property
    def records_key(self) -> str:
        """Return where the server has the records."""

    def unreadable(self) -> list[Unreadable]:
        """Return what stands in the place of records of the directory, and was written by no worker."""

    def seize(self, event_type: str, name: str) -> Seized | None:
        """Fence the consumer whose record names a file; None where no record does."""

    def forget(self, seized: Seized, record: Record) -> bool:
        """Clear the file from that record."""

    @property
    def compares(self) -> bool:
        """Tell whether the server forgot lately."""

    def put_back(self, consumer: str, record: Record) -> bool:
        """Put a dead consumer's record back; False where the server has it, or a newer one."""


def scan(directory: Directory, files: Files, fence: Fence) -> int:
    """Seal, or unlink, what dead workers left in the directory; returns how many files that were."""
    return _scan_files(directory, files, fence) + _scan_records(directory, files, fence)


def put_back_forgotten(directory: Directory, fence: Fence) -> None:
    """Put back the records of consumers that are not at work, where their journals are newer than the server."""
    for consumer in journal.consumers(directory.path):
        if consumer == directory.consumer:
            continue
        try:
            lock = locks.ConsumerLock(directory.path, consumer, directory.holder)  # it cannot start meanwhile
        except Locked:
            continue
        try:
            told = journal.read(directory.path, consumer, directory.id)
            if told.record and told.record.batch and fence.put_back(consumer, told.record):
                event(_log, "record.put_back", logging.ERROR, consumer=consumer, commits=told.record.batch)
        finally:
            lock.release()


def _scan_files(directory: Directory, files: Files, fence: Fence) -> int:
    done = 0
    for event_type, location in directory.all_locations():
        for name in location.given_out():
            path = location.path / name
            file = None if files.holds(name) else AccountingFile.adopt_orphan(path)
            if file is not None:
                with file:  # whatever fails: the lock that is kept would keep it from everybody
                    _settle(directory, files, fence, event_type, file)
                done += 1
    return done


def _scan_records(directory: Directory, files: Files, fence: Fence) -> int:
    """Do the same for files that only a record names any more, and clear from the records what is over.

    They tell where to look: what is cleared was read anew behind the fence, and has not changed since.
    """
    done = 0
    for each in fence.unreadable():
        _tell(directory, "record.unreadable", consumer=each.consumer, why=each.why)
    for consumer, record in fence.abandoned():
        if not locks.is_at_work(
            directory.path, consumer
        ):  # else its lease ran out: it stalls, or has trouble with the disk
            done += sum(_end(directory, files, fence, *named) for named in _named(directory, record))
    return done


def _named(directory: Directory, record: Record) -> list[tuple[str, FileState]]:
    """Return the files that a record names, with their types."""
    return [each for each in record.named if each[0] in directory.locations]


def _end(directory: Directory, files: Files, fence: Fence, event_type: str, state: FileState) -> bool:
    """Bring a file that a record named to its end; tells whether there was one to seal.

    Whoever can write to the server can write a record: what this directory never gave out is not even looked at.
    """
    path = directory.path_of(event_type, state)
    if not os.path.lexists(path):
        if mending.is_over(directory, event_type, state):
            _clear(fence, event_type, path)
        return False
    if not directory.gave_out(event_type, state):
        _tell(directory, "record.stranger", key=fence.records_key, type=event_type, file=state.name, why=_STRANGER)
        return False
    file = AccountingFile.adopt_orphan(path)
    if file is None:
        return False
    with file:
        if seized := fence.seize(event_type, state.name):
            _finish(files, fence, event_type, file, seized)
        return seized is not None


def _clear(fence: Fence, event_type: str, path: Path) -> None:
    """Clear a file that is over from the record that names it."""
    seized = fence.seize(event_type, path.name)
    if seized and fence.forget(seized, _without(seized.record, event_type, path.name)):
        event(_log, "record.cleared", file=path, consumer=seized.consumer)


def _settle(directory: Directory, files: Files, fence: Fence, event_type: str, file: AccountingFile) -> None:
    """Bring one orphan to its end."""
    name = file.path.name
    seized = fence.seize(event_type, name)
    if seized is None and (owner := _owner(directory, name)):
        if locks.is_at_work(directory.path, owner):
            return  # it has just been started, and opens the file once it has put its record back
        put_back_forgotten(directory, fence)
        seized = fence.seize(event_type, name)
    if seized is None and _is_some_record_forged(directory, fence):
        _tell(directory, "file.unclear", file=file.path, why=_UNCLEAR)
    elif seized is None:
        _unnamed(directory, files, event_type, file)
    else:
        _finish(files, fence, event_type, file, seized)


def _is_some_record_forged(directory: Directory, fence: Fence) -> bool:
    """Tell whether no worker wrote one of the records: what it said before, nobody knows."""
    return bool(fence.unreadable()) or any(mending.strangers(directory, record) for _, record in fence.abandoned())


def _tell(directory: Directory, name: str, **facts: object) -> None:
    """Warn of what somebody wrote on the server, once: every look finds it again."""
    if directory.is_news(f"{name} {facts}"):
        event(_log, name, logging.WARNING, **facts)


def _owner(directory: Directory, name: str) -> str | None:
    """Return the other consumer whose journal names a file that no record names: the server forgot it."""
    for consumer in journal.consumers(directory.path):
        record = journal.last_record(directory.path, consumer)
        if record and name in record.file_names and consumer != directory.consumer:
            return consumer
    return None


def _finish(files: Files, fence: Fence, event_type: str, file: AccountingFile, seized: Seized) -> None:
    """Bring a file that a seized record names to its end, and clear it from the record."""
    closing = _closing(seized.record, event_type, file.path.name)
    event(_log, "file.orphan", file=file.path, consumer=seized.consumer, rows=closing.file.rows)
    file.state = closing.file
    if file.is_the_recorded_one():
        files.finish_orphan(closing, file, seized.consumer, in_doubt=fence.compares)
    else:
        event(_log, "file.swapped", logging.ERROR, file=file.path, why="not the file of the record: left as it is")
        files.tell_gone(event_type, closing.file, file.path)
        file.close()
    fence.forget(seized, _without(seized.record, event_type, file.path.name))


def _closing(record: Record, event_type: str, name: str) -> Closing:
    """Return how a record names a file: under `closing`, or as the open one of its type."""
    for closing in record.closing:
        if (closing.event_type, closing.file.name) == (event_type, name):
            return closing
    return Closing(event_type=event_type, reason=Reason.ORPHAN, file=record.files[event_type])


def _without(record: Record, event_type: str, name: str) -> Record:
    """Return a record that does not name the file; the batch counter stays."""
    files = {kind: state for kind, state in record.files.items() if (kind, state.name) != (event_type, name)}
    rest = [each for each in record.closing if (each.event_type, each.file.name) != (event_type, name)]
    return msgspec.structs.replace(record, files=files, closing=rest)


def _unnamed(directory: Directory, files: Files, event_type: str, file: AccountingFile) -> None:
    """End a file that neither a record nor a journal names: unlink it, or seal it as it stands where it has rows.

    Rows come after the record that names their file, and that stands in the journal. So both are lost, and nobody knows
    how many of the rows count.
    """
    if manifest_path(file.path).exists():  # sealed; perhaps interrupted while it was moved
        mending.finish_move(directory, event_type, file)
        return
    header, size = directory.header_of(event_type, file), file.size()
    if header and file.first_line() != header:  # another's, who replaced ours
        file.state = msgspec.structs.replace(file.state, length=0)
        kept = salvage.keep_tail(directory.path, file, in_doubt=True)
        event(_log, "file.unnamed", logging.ERROR, file=file.path, bytes=size, kept=kept)
        discard(file)
    elif size == len(header):
        discard(file)
    else:
        files.seal_in_doubt(event_type, file)
