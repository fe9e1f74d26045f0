"""The directory of accounting files: its identity, the consumer's lock, and the names that it has given out.

What survives a crash: `.directory-id`, the last name of each type in `<location>/.last-name`, and the lock files,
which are never unlinked (a process may wait on the inode). The locks themselves end with the process.
"""

import fcntl
import os
import secrets
from datetime import datetime
from pathlib import Path

from schemas.events import TYPES
from worker.accounting_file import AccountingFile, sync_directory
from worker.errors import DiskTrouble, Locked
from worker.naming import Names, Stamp, next_stamp
from worker.settings import DirectorySettings, NameSettings


def write_durably(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a whole file so that after a crash either the old or the new content stands there."""
    temporary = path.with_name(f".{path.name.lstrip('.')}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


class ConsumerLock:
    """The lock on a consumer's name in one directory: one process at a time, until it dies."""

    def __init__(self, path: Path, consumer: str) -> None:
        """Take the lock; raises Locked with the holder's pid where it is busy."""
        self._descriptor = os.open(path / f".{consumer}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            message = f"{path}: consumer {consumer} is already at work here, in process {holder}"
            raise Locked(message) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock up; death does it too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _directory_id(path: Path) -> str:
    """Return the random id of a directory, made at its first use."""
    file = path / ".directory-id"
    while True:
        try:
            known = file.read_text("ascii").strip()
        except FileNotFoundError:
            known = ""
        if known:
            return known
        fresh = path / f".directory-id.{os.getpid()}"
        write_durably(fresh, f"{secrets.token_hex(8)}\n".encode())
        try:
            os.link(fresh, file)  # never replaces the id of a worker that was quicker
        except FileExistsError:
            continue
        finally:
            fresh.unlink()
        sync_directory(path)


class Location:
    """The directory of one type's open files, and the archive inside it."""

    def __init__(self, path: Path, archive: Path, names: Names, timezone_settings: NameSettings) -> None:
        self.path = path
        self.archive = archive
        self._names = names
        self._timezone = timezone_settings.timezone

    def prepare(self, *, archiving: bool) -> None:
        """Make the directories, and durable that they are there."""
        for directory in (self.path, self.archive) if archiving else (self.path,):
            directory.mkdir(parents=True, exist_ok=True)
            sync_directory(directory.parent)

    def create(self, consumer: str, header: bytes, now: datetime) -> AccountingFile:
        """Make a new file under a name that this directory never had; `now` is aware."""
        temporary = self.path / f".{consumer}.new"
        lock = os.open(self.path / ".last-name.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self._next_path(now)
            return AccountingFile.create(path, temporary, header, int(now.timestamp() * 1000))
        except OSError as error:
            raise DiskTrouble(f"{self.path}: no new accounting file: {error}") from error
        finally:
            os.close(lock)

    def _next_path(self, now: datetime) -> Path:
        """Return the next name, written down as given out before anybody can use it."""
        book = self.path / ".last-name"
        try:
            last = Stamp.parse(book.read_text("ascii").strip())
        except FileNotFoundError:
            last = None
        stamp = next_stamp(last or self._latest_in_use(), now.astimezone(self._timezone))
        while self._is_used(self._names.format(stamp)):  # foreign files, or a book that was lost
            stamp = stamp.successor()
        write_durably(book, f"{stamp}\n".encode())
        return self.path / self._names.format(stamp)

    def _latest_in_use(self) -> Stamp | None:
        """Return the latest stamp among the files that are there, for a book that was lost."""
        stamps = (
            self._names.parse(entry.name)
            for directory in (self.path, self.archive)
            if directory.is_dir()
            for entry in directory.iterdir()
        )
        return max((stamp for stamp in stamps if stamp), default=None)

    def _is_used(self, name: str) -> bool:
        return any(
            os.path.lexists(directory / used)
            for directory in (self.path, self.archive)
            for used in (name, f"{name}.json")
        )


class Directory:
    """The directory at `path`, held by one consumer of this process."""

    def __init__(self, settings: DirectorySettings, names: NameSettings, consumer: str, *, archiving: bool) -> None:
        """Make the directories and take the consumer's lock. Raises Locked, or DiskTrouble from the disk."""
        self.path = settings.path
        self.consumer = consumer
        self.locations = {
            event_type: Location(
                settings.path / settings.location[event_type],
                settings.path / settings.location[event_type] / settings.archive_to[event_type],
                Names(names, event_type, consumer),
                names,
            )
            for event_type in TYPES
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = ConsumerLock(self.path, consumer)
            self.id = _directory_id(self.path)
            for location in self.locations.values():
                location.prepare(archiving=archiving)
        except OSError as error:
            raise DiskTrouble(f"{error.filename}: {error.strerror}") from error

    def release(self) -> None:
        """Give the consumer's lock up."""
        self._lock.release()
