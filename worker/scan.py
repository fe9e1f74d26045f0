"""The scan of the own directory for files that dead workers left (design section 5, step 16).

A lock that can be had tells that the writer is dead, since it is held from before a file has a name. First the lock,
then the record: the other way round, the writer could have committed in between (protocol trap 10). Only names that
this directory gave out are looked at; anything else, such as the old plugin's files, is foreign and never touched.
"""

import logging
from typing import Protocol

import msgspec

from worker import salvage
from worker.accounting_file import AccountingFile
from worker.archive import discard
from worker.directory import Directory
from worker.files import Files
from worker.log import event
from worker.manifest import manifest_path
from worker.records import Closing, FileState, Record
from worker.rotation import Reason
from worker.stream import Seized

_log = logging.getLogger(__name__)


class Fence(Protocol):
    """What the scan needs of the stream."""

    def seize(self, event_type: str, name: str) -> Seized | None:
        """Fence the consumer whose record names a file; None where no record does."""

    def forget(self, seized: Seized, record: Record) -> bool:
        """Clear the file from that record."""


def scan(directory: Directory, files: Files, fence: Fence) -> int:
    """Seal, or unlink, what dead workers left in the directory; returns how many files that were."""
    done = 0
    for event_type, location in directory.locations.items():
        for name in location.given_out():
            path = location.path / name
            file = None if files.holds(name) else AccountingFile.adopt_orphan(path)
            if file is not None:
                with file:  # whatever fails: the lock that is kept would keep it from everybody
                    _settle(directory, files, fence, event_type, file)
                done += 1
    return done


def _settle(directory: Directory, files: Files, fence: Fence, event_type: str, file: AccountingFile) -> None:
    """Bring one orphan to its end."""
    seized = fence.seize(event_type, file.path.name)
    if seized is None:
        _unnamed(directory, files, event_type, file)
        return
    closing = _closing(seized.record, event_type, file.path.name)
    event(_log, "file.orphan", file=file.path, consumer=seized.consumer, rows=closing.file.rows)
    if closing.file.inode != file.state.inode:
        event(_log, "file.swapped", logging.ERROR, file=file.path, why="not the file of the record: left as it is")
        file.close()
    else:
        file.state = closing.file
        files.finish_orphan(closing, file)
    fence.forget(seized, _without(seized.record, event_type, closing))


def _closing(record: Record, event_type: str, name: str) -> Closing:
    """Return how a record names a file: under `closing`, or as the open one of its type."""
    for closing in record.closing:
        if (closing.event_type, closing.file.name) == (event_type, name):
            return closing
    return Closing(event_type=event_type, reason=Reason.ORPHAN, file=record.files[event_type])


def _without(record: Record, event_type: str, closing: Closing) -> Record:
    """Return a record that does not name the file; the batch counter stays."""
    files = {
        name: state for name, state in record.files.items() if (name, state.name) != (event_type, closing.file.name)
    }
    rest = [each for each in record.closing if each.file.name != closing.file.name or each.event_type != event_type]
    return msgspec.structs.replace(record, files=files, closing=rest)


def _unnamed(directory: Directory, files: Files, event_type: str, file: AccountingFile) -> None:
    """Unlink a file that no record names; rows in it are kept aside first (only a server that forgot leaves some)."""
    if manifest_path(file.path).exists():  # sealed; perhaps interrupted while it was moved
        files.finish_move(event_type, file)
        return
    header, size = files.header(event_type), file.size()
    file.state = FileState(name=file.path.name, inode=file.state.inode, length=len(header), opened_ms=0)
    if file.content() != header:  # another's, who replaced ours
        file.state = msgspec.structs.replace(file.state, length=0)
    if size > file.state.length:
        kept = salvage.keep_tail(directory.path, file)
        event(_log, "file.unnamed", logging.ERROR, file=file.path, bytes=size, kept=kept)
    discard(file)
