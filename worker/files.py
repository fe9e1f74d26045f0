"""The accounting files of one consumer: one open file per type, and those on their way to being sealed.

The loop's hands. Nothing here decides what is committed; it carries out, on files, what a commit record says. All
locks are held from before a file has a name until it is discarded, or sealed and not named by the record any more, or
this process dies.
"""

import logging
import os
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec

from worker import archive, salvage
from worker.accounting_file import AccountingFile
from worker.batch import Batch, Renderer
from worker.directory import Directory
from worker.errors import DiskTrouble
from worker.log import event
from worker.manifest import Writer, manifest_path
from worker.records import Closing, FileState, Record

_log = logging.getLogger(__name__)


class Files:
    """Opens, appends to, cuts and seals the files of one consumer in one directory."""

    def __init__(
        self, directory: Directory, renderer: Renderer, writer: Writer, *, archiving: bool,
        now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._directory = directory
        self._rows = {event_type: kind.rows for event_type, kind in renderer.types.items()}
        self._writer = writer
        self._archiving = archiving
        self._now = now
        self._held: dict[str, AccountingFile] = {}  # every unsealed file whose lock is held, by name
        self._sealed: dict[str, AccountingFile] = {}  # locked until the record drops them: a scan would seize it
        self.open: dict[str, AccountingFile] = {}  # by type

    def holds(self, name: str) -> bool:
        """Tell whether this process has a file's lock."""
        return name in self._held or name in self._sealed

    @property
    def are_some_just_sealed(self) -> bool:
        """Tell whether the record still names files that are sealed."""
        return bool(self._sealed)

    def header(self, event_type: str) -> bytes:
        """Return a type's header line."""
        return self._rows[event_type].header

    # New files, rotation, seal: design section 5, steps 12 to 14

    def create(self, event_type: str) -> FileState:
        """Make a new file with its header. It becomes the open one once a commit names it (`adopt_open`)."""
        location = self._directory.locations[event_type]
        file = location.create(self._directory.consumer, self._rows[event_type].header, self._now())
        self._held[file.path.name] = file
        return file.state

    def cut_open(self, event_type: str) -> FileState:
        """Cut the open file of a type to its committed length, as the last thing before it is rotated."""
        file = self.open[event_type]
        file.require_still_there()
        file.cut()
        return file.state

    def restorable(self, record: Record) -> Record:
        """Return a record as it can be put back on the server: without files that are not held any more."""
        held = {event_type: state for event_type, state in record.files.items() if state.name in self._held}
        closing = [closing for closing in record.closing if closing.file.name in self._held]
        return msgspec.structs.replace(record, files=held, closing=closing)

    def acknowledged(self, record: Record) -> None:
        """Take over what a commit has recorded: states of the open files, and which file is open."""
        for event_type, state in record.files.items():
            file = self._held[state.name]
            file.state = state
            self.open[event_type] = file
        for event_type in self.open.keys() - record.files.keys():
            del self.open[event_type]
        self._unlock_sealed({closing.file.name for closing in record.closing})

    def _unlock_sealed(self, but: Collection[str] = ()) -> None:
        """Give up the locks of files that are sealed; from then on they are the janitor's."""
        for name in self._sealed.keys() - but:
            self._sealed.pop(name).close()

    def seal(self, closing: Closing) -> None:
        """Seal a file that a record names under `closing`; one without rows is unlinked."""
        file = self._held[closing.file.name]
        self._end(closing, file)
        del self._held[closing.file.name]
        if file.state.rows:
            self._sealed[closing.file.name] = file

    def _end(self, closing: Closing, file: AccountingFile) -> None:
        """Seal a file, or unlink and close it where it has no rows."""
        if not file.state.rows:
            archive.discard(file)
            return
        place = archive.seal(
            file, self._directory.locations[closing.event_type], self._rows[closing.event_type].columns,
            event_type=closing.event_type, reason=closing.reason, writer=self._writer, archiving=self._archiving,
            now_ms=int(self._now().timestamp() * 1000),
        )  # fmt: skip
        rows, size = closing.file.rows, closing.file.length
        event(_log, "file.sealed", file=place, rows=rows, bytes=size, reason=closing.reason)

    # Orphans: step 16

    def finish_orphan(self, closing: Closing, file: AccountingFile) -> None:
        """Seal a dead worker's file, whose lock is held and whose record was seized."""
        if self._cut_to_record(closing.event_type, file):
            self._end(closing, file)
            if file.state.rows:
                file.close()

    def finish_move(self, event_type: str, file: AccountingFile) -> None:
        """Close a file that has its manifest, after what of its seal and its move to the archive was interrupted."""
        archive.protect(file)
        if self._archiving:
            archive.finish_move(file, self._directory.locations[event_type])
        else:
            file.close()

    # A batch: step 8

    def append(self, batch: Batch) -> Mapping[str, FileState]:
        """Append a batch's rows, one write per file, and make them durable. Returns the states to commit."""
        states = {event_type: file.state for event_type, file in self.open.items()}
        touched = [event_type for event_type, part in batch.parts.items() if part.rows]
        for event_type in touched:
            self.open[event_type].append(batch.parts[event_type].rows)
        for event_type in touched:
            self.open[event_type].require_still_there()
            self.open[event_type].sync()
            states[event_type] = batch.parts[event_type].advance(states[event_type])
        return states

    # Recovery: steps 3 to 5 and 10

    def adopt(self, record: Record) -> Record:
        """Make the files what a record says: seal `closing`, cut the open ones. Returns what then still holds.

        Held files that the record does not name were linked but never acknowledged; they hold a header and are
        unlinked.
        """
        try:
            return self._adopt(record)
        except OSError as error:
            raise DiskTrouble(f"{error.filename or self._directory.path}: {error.strerror}") from error

    def _adopt(self, record: Record) -> Record:
        self._unlock_sealed()
        self.open = {}
        for closing in record.closing:
            self._finish_closing(closing)
        files = {}
        for event_type, state in record.files.items():
            file = self._restore(event_type, state)
            if file is None:
                event(_log, "file.gone", logging.WARNING, type=event_type, file=state.name, rows=state.rows)
            else:
                self.open[event_type] = file
                files[event_type] = state
        for name in self._held.keys() - {state.name for state in files.values()}:
            self._let_go(self._held[name])
            del self._held[name]  # only now: what failed is done again
        return msgspec.structs.replace(record, files=files, closing=[])

    def _finish_closing(self, closing: Closing) -> None:
        location = self._directory.locations[closing.event_type]
        file = self._held.get(closing.file.name)
        if file is None or not archive.has(file, location):
            file = self._restore(closing.event_type, closing.file)
        if file is None:
            archive.finish(location.path / closing.file.name, location.archive)
        else:
            self.seal(closing)

    def _restore(self, event_type: str, state: FileState) -> AccountingFile | None:
        """Return a recorded file, locked and cut to its recorded length; None where it is not there any more."""
        path = self._directory.locations[event_type].path / state.name
        file = self._held.get(state.name)
        if file is not None and not file.is_still_there():
            file.state = state
            self._rescue(event_type, file)
            del self._held[state.name]  # only now: a rescue that failed is done again
            return None
        file = file or AccountingFile.reopen(path, state)
        if file is None:
            return None
        file.state = state
        self._held[state.name] = file
        if not self._cut_to_record(event_type, file):
            del self._held[state.name]
            return None
        return file

    def _cut_to_record(self, event_type: str, file: AccountingFile) -> bool:
        """Cut a file to its committed length, keeping its tail; False where it was given up.

        That is one that is shorter, and one that was sealed before the server lost the record of it: what is sealed
        was committed whole, and is never changed again.
        """
        size, committed, is_sealed = file.size(), file.state.length, manifest_path(file.path).exists()
        if size > committed and is_sealed:
            event(_log, "file.forgotten", logging.ERROR, file=file.path, bytes=size, recorded_bytes=committed)
            self.finish_move(event_type, file)
            return False
        if size < committed:
            kept = salvage.note_short(self._directory.path, file)
            missing = committed - size
            event(_log, "file.short", logging.ERROR, file=file.path, missing_bytes=missing, kept=kept)
            file.close()
            return False
        if size > committed:
            kept = salvage.keep_tail(self._directory.path, file)
            event(_log, "file.cut", logging.WARNING, file=file.path, bytes=size - committed, kept=kept)
        if size > committed or (file.is_doubted and not is_sealed):  # an earlier cut may not be durable
            file.cut()
        return True

    def _rescue(self, event_type: str, file: AccountingFile) -> None:
        """Keep the committed rows of a file that somebody removed or swapped, while it can still be read.

        A manifest that was made for it describes nothing that stands here. One that was moved needs no rescue.
        """
        if archive.has(file, self._directory.locations[event_type]):
            self.finish_move(event_type, file)
            return
        if not file.state.rows and not os.path.lexists(file.path):  # perhaps only the end of its unlinking failed
            archive.discard(file)
            return
        manifest_path(file.path).unlink(missing_ok=True)
        why = "removed, renamed or replaced while it was open"
        kept = salvage.keep_whole(self._directory.path, file, why) if file.state.rows else None
        event(_log, "file.swapped", logging.ERROR, file=file.path, rows=file.state.rows, kept=kept)
        file.close()

    def _let_go(self, file: AccountingFile) -> None:
        """Unlink a new file that no record names; what it holds beyond its header is kept aside first.

        One with committed rows stays as it is, unlocked, for the scan.
        """
        if file.state.rows:
            event(_log, "file.unnamed", logging.ERROR, file=file.path, rows=file.state.rows)
            file.close()
            return
        if file.size() > file.state.length:
            kept = salvage.keep_tail(self._directory.path, file)
            event(_log, "file.unnamed", logging.ERROR, file=file.path, kept=kept)
        archive.discard(file)

    def release(self) -> None:
        """Close every file and give up every lock, whatever state they are in; the record tells the rest."""
        for file in self._held.values():
            file.close()
        self._held.clear()
        self._unlock_sealed()
        self.open.clear()
        self._directory.release()


def require_open(files: Files, event_types: set[str]) -> None:
    """Raise DiskTrouble where a type has no open file; the recovery makes a new one."""
    missing = event_types - files.open.keys()
    if missing:
        raise DiskTrouble(f"no open file for {', '.join(sorted(missing))}")
