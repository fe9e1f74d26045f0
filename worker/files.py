"""The accounting files of one consumer: one open file per type, and those on their way to being sealed.

The loop's hands. Nothing here decides what is committed; it carries out, on files, what a commit record says. All
locks are held from before a file has a name until it is discarded, or sealed and not named by the record any more, or
this process dies.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from worker import __version__, archive, mending
from worker.accounting_file import AccountingFile
from worker.batch import Batch
from worker.directory import Directory
from worker.errors import DiskTrouble
from worker.log import event
from worker.manifest import Writer
from worker.mending import Mended
from worker.records import Closing, FileState, Record
from worker.rotation import Reason

_log = logging.getLogger(__name__)


class Files:
    """Opens, appends to, cuts and seals the files of one consumer in one directory."""

    def __init__(self, directory: Directory, *, now: Callable[[], datetime]) -> None:
        self._directory = directory
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

    # New files, rotation, seal: design section 5, steps 12 to 14

    def create(self, event_type: str) -> FileState:
        """Make a new file with its header. It becomes the open one once a commit names it (`acknowledged`)."""
        series, location = self._directory.born_into[event_type], self._directory.locations[event_type]
        file = location.create(self._directory.consumer, series.header, series.id, self._now())
        self._held[file.path.name] = file
        return file.state

    def cut_open(self, event_type: str) -> FileState:
        """Cut the open file of a type to its committed length, as the last thing before it is rotated."""
        file = self.open[event_type]
        file.require_still_there()
        file.require_size(file.state.length)
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
            if file.state is not state:
                file.acknowledge(state)
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
        self._end(closing, file, self._directory.consumer)
        del self._held[closing.file.name]
        if file.state.rows:
            self._sealed[closing.file.name] = file

    def _end(self, closing: Closing, file: AccountingFile, writer: str) -> None:
        """Seal a file, or unlink and close it where it has no rows. Raises DiskTrouble."""
        if not file.state.rows:
            archive.discard(file)
            return
        try:
            layout = self._directory.layout_of(closing.event_type, file)
        except OSError as error:
            raise DiskTrouble(f"{file.path}: {error.strerror}") from error
        place = archive.seal(
            file, self._directory.location_of(closing.event_type, file.state), closing,
            columns=layout.columns, archiving=self._directory.is_archiving, now_ms=int(self._now().timestamp() * 1000),
            writer=Writer(
                consumer=writer, directory=self._directory.id, version=__version__, format=layout.format,
                separator=layout.separator, timezone=layout.timezone, guarded=layout.guarded,
            ),
        )  # fmt: skip
        event(_log, "file.sealed", file=place, rows=file.state.rows, bytes=file.state.length, reason=closing.reason)

    # Orphans: step 16

    def finish_orphan(self, closing: Closing, file: AccountingFile, writer: str, *, in_doubt: bool) -> None:
        """Seal a dead worker's file, whose lock is held and whose record was seized; `in_doubt` is as in `adopt`."""
        mended = mending.cut_to_record(self._directory, closing.event_type, file, in_doubt=in_doubt)
        if mended is not Mended.OVER:
            self._end(_as_short(closing) if mended is Mended.SHORT else closing, file, writer)
            if file.state.rows:
                file.close()

    def tell_gone(self, event_type: str, state: FileState, path: Path) -> None:
        """Say that the file of a dead worker's record is not there, or is another one."""
        mending.tell_gone(self._directory, event_type, state, path)

    def seal_in_doubt(self, event_type: str, file: AccountingFile) -> None:
        """Seal a file as it stands: nobody knows how much of it is committed. A torn last line is kept aside."""
        rows = mending.take_as_it_stands(self._directory, event_type, file)
        if rows:
            closing = Closing(event_type=event_type, reason=Reason.DOUBT, file=file.state)
            self._end(closing, file, self._directory.consumer)
        file.close()

    # A batch: step 8

    def append(self, batch: Batch) -> Mapping[str, FileState]:
        """Append a batch's rows, one write per file, and make them durable. Returns the states to commit."""
        states = {event_type: file.state for event_type, file in self.open.items()}
        touched = [event_type for event_type, part in batch.parts.items() if part.rows]
        for event_type in touched:
            self.open[event_type].append(batch.parts[event_type].rows)
        for event_type in touched:
            file = self.open[event_type]
            state = batch.parts[event_type].advance(states[event_type], file.appended_sha256())
            file.require_still_there()
            file.require_size(state.length)
            file.sync()
            states[event_type] = state
        return states

    def cut_back(self) -> None:
        """Cut the open files to their committed lengths: what was appended is to be appended otherwise."""
        for file in self.open.values():
            file.cut()

    def require_unchanged(self) -> None:
        """Raise DiskTrouble where somebody has changed an open file since it was written last."""
        for file in self.open.values():
            file.require_still_there()
            file.require_size(file.state.length)

    # Recovery: steps 3 to 5 and 10

    def adopt(self, record: Record, *, in_doubt: bool) -> Record:
        """Make the files what a record says: seal `closing`, cut the open ones. Returns what then still holds.

        `in_doubt`: the server has forgotten, so what is cut off may have been acknowledged. Held files that the record
        does not name were linked but never acknowledged; they hold a header and are unlinked.
        """
        try:
            return self._adopt(record, in_doubt=in_doubt)
        except OSError as error:
            raise DiskTrouble(f"{error.filename or self._directory.path}: {error.strerror}") from error

    def _adopt(self, record: Record, *, in_doubt: bool) -> Record:
        self._unlock_sealed()
        self.open = {}
        for closing in record.closing:
            self._finish_closing(closing, in_doubt=in_doubt)
        files = {}
        for event_type, state in record.files.items():
            if file := self._restore(
                Closing(event_type=event_type, reason=Reason.START, file=state), in_doubt=in_doubt
            ):
                self.open[event_type] = file
                files[event_type] = file.state
        for name in self._held.keys() - {state.name for state in files.values()}:
            mending.let_go(self._directory, self._held[name], in_doubt=in_doubt)
            del self._held[name]  # only now: what failed is done again
        return msgspec.structs.replace(record, files=files, closing=[])

    def _finish_closing(self, closing: Closing, *, in_doubt: bool) -> None:
        location = self._directory.location_of(closing.event_type, closing.file)
        file = self._held.get(closing.file.name)
        if file is None or not archive.has(file, location):
            file = self._restore(closing, in_doubt=in_doubt)
        if file is None and self._directory.gave_out(closing.event_type, closing.file):
            archive.finish(location.path / closing.file.name, location.archive)
        elif file is not None:
            self.seal(closing)

    def _restore(self, named: Closing, *, in_doubt: bool) -> AccountingFile | None:
        """Return a recorded file, locked and cut to its recorded length; None where it is not there any more.

        One that has become shorter is sealed as it is, whatever the record wants. What this directory never gave out is
        not looked at.
        """
        event_type, state = named.event_type, named.file
        path = self._directory.path_of(event_type, state)
        file = self._held.get(state.name)
        if file is not None and not file.is_still_there():
            file.acknowledge(state)
            mending.rescue(self._directory, event_type, file)
            del self._held[state.name]  # only now: a rescue that failed is done again
            return None
        if file is not None:
            file.acknowledge(state)
        elif (file := self._reopen(event_type, state, path)) is None:
            mending.tell_gone(self._directory, event_type, state, path)
            return None
        self._held[state.name] = file
        match mending.cut_to_record(self._directory, event_type, file, in_doubt=in_doubt):
            case Mended.WHOLE:
                return file
            case Mended.SHORT:
                self.seal(_as_short(named))
            case Mended.OVER:
                del self._held[state.name]
        return None

    def _reopen(self, event_type: str, state: FileState, path: Path) -> AccountingFile | None:
        return AccountingFile.reopen(path, state) if self._directory.gave_out(event_type, state) else None

    def release(self) -> None:
        """Close every file and give up every lock, whatever state they are in; the record tells the rest."""
        for file in self._held.values():
            file.close()
        self._held.clear()
        self._unlock_sealed()
        self.open.clear()
        self._directory.release()


def _as_short(closing: Closing) -> Closing:
    return msgspec.structs.replace(closing, reason=Reason.SHORT)


def require_open(files: Files, event_types: set[str]) -> None:
    """Raise DiskTrouble where a type has no open file; the recovery makes a new one."""
    missing = event_types - files.open.keys()
    if missing:
        raise DiskTrouble(f"no open file for {', '.join(sorted(missing))}")
