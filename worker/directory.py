"""The directory of accounting files: the consumer's lock, and the names that it has given out.

What survives a crash: who it is (`identity`), the book of names of each type (`<location>/.names`), and the lock files,
which are never unlinked (a process may wait on the inode). The locks themselves end with the process.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, tzinfo
from pathlib import Path

from schemas.events import TYPES
from worker import book
from worker.accounting_file import AccountingFile, make_directory, sync_directory, write_new
from worker.errors import DiskTrouble, Locked
from worker.identity import identify, known_id, require_partition
from worker.inventory import Place, places
from worker.naming import Names, Stamp, next_stamp
from worker.settings import DirectorySettings, NameSettings


class ConsumerLock:
    """The lock on a consumer's name in one directory: one process at a time, until it dies."""

    def __init__(self, path: Path, consumer: str) -> None:
        """Take the lock; raises Locked with the holder's pid where it is busy."""
        self._descriptor = os.open(path / f".{consumer}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not self._take():
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise Locked(f"{path}: consumer {consumer} is already at work here, in process {holder}")
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _take(self) -> bool:
        """Take the lock; False where a process has it. One that is shared is not had: somebody looks at it."""
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if not _share(self._descriptor):
                return False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def release(self) -> None:
        """Give the lock up; death does it too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_at_work(path: Path, consumer: str) -> bool:
    """Tell whether a process has the lock on a consumer's name in one directory."""
    try:
        descriptor = os.open(path / f".{consumer}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _share(descriptor)
    finally:
        os.close(descriptor)


def _share(descriptor: int) -> bool:
    """Take a shared lock, which disturbs nobody else who does; False where somebody has the lock alone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Location:
    """The directory of one type's open files, and the archive inside it."""

    def __init__(self, place: Place, names: Names, timezone: tzinfo) -> None:
        self.path = place.open
        self.archive = place.archive
        self._place = place
        self._names = names
        self._timezone = timezone
        self._archiving = False

    def prepare(self, *, archiving: bool) -> None:
        """Make the directories, and durable that they are there."""
        self._archiving = archiving
        for directory in (self.path, self.archive) if archiving else (self.path,):
            make_directory(directory)
            sync_directory(directory.parent)  # whoever made it may have died before

    def create(self, consumer: str, header: bytes, now: datetime) -> AccountingFile:
        """Make a new file under a name that this directory never had; `now` is aware."""
        try:
            with self._names_lock():
                path = self._next_path(now)
                temporary = self.path / f".{consumer}.new"
                return AccountingFile.create(path, temporary, header, int(now.timestamp() * 1000))
        except OSError as error:
            raise DiskTrouble(f"{self.path}: no new accounting file: {error.strerror}") from error

    @contextmanager
    def _names_lock(self) -> Iterator[None]:
        """Be the one that gives out names."""
        lock = os.open(self.path / ".names.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def prove_writable(self, consumer: str, size: int) -> None:
        """Write a file of some bytes, make it durable, and unlink it. Raises DiskTrouble."""
        probe = self.path / f".{consumer}.probe"
        try:
            probe.unlink(missing_ok=True)
            write_new(probe, os.urandom(size))  # zeros may take no room
            probe.unlink()
            sync_directory(self.path)
        except OSError as error:
            raise DiskTrouble(f"{self.path}: nothing can be written: {error.strerror}") from error

    def given_out(self) -> tuple[str, ...]:
        """Return the names of files that this directory made and that were not finished when it last looked."""
        try:
            return book.load(self.path).open
        except book.Unreadable:
            with self._names_lock():
                return self._book().open

    def _book(self) -> book.Book:
        """Return the book of names, begun anew where it cannot be read; with the lock on names held."""
        try:
            return book.load(self.path)
        except book.Unreadable as error:
            return book.begin_anew(self._place, self._names, self._timezone, error)

    def _next_path(self, now: datetime) -> Path:
        """Return the next name, written down as given out before anybody can use it."""
        known = self._book()
        last = Stamp.parse(known.last) or book.latest_in_use(self._place, self._names)
        stamp = next_stamp(last, now.astimezone(self._timezone))
        while self._is_used(self._names.format(stamp)):  # foreign files, or a book that was lost
            stamp = stamp.successor()
        name = self._names.format(stamp)
        unfinished = (each for each in known.open if self._is_unfinished(each))
        book.save(self.path, book.Book(str(stamp), (*unfinished, name)))
        return self.path / name

    def _is_unfinished(self, name: str) -> bool:
        """Tell whether a file is still to be sealed, which takes its write permission away, or to be archived."""
        try:
            here = (self.path / name).lstat()
        except FileNotFoundError:
            return False
        return bool(here.st_mode & stat.S_IWUSR) or (self._archiving and self._can_be_archived(name, here))

    def _can_be_archived(self, name: str, here: os.stat_result) -> bool:
        """Tell whether a sealed file can be moved: not to another file system, nor where another has its name."""
        try:
            if here.st_dev != self.archive.stat().st_dev:
                return False
            return (self.archive / name).lstat().st_ino == here.st_ino  # its move was interrupted
        except FileNotFoundError:
            return True

    def _is_used(self, name: str) -> bool:
        return any(
            os.path.lexists(directory / used)
            for directory in (self.path, self.archive)
            for used in (name, f"{name}.json")
        )


class Directory:
    """The directory at `path`, held by one consumer of this process."""

    def __init__(
        self, settings: DirectorySettings, names: NameSettings, consumer: str, *, partition: str, archiving: bool
    ) -> None:
        """Make the directories and take the consumer's lock.

        Raises OtherPartition, before anything is touched, Locked, or DiskTrouble from the disk.
        """
        self.path = settings.path
        self.consumer = consumer
        self._min_free_bytes = settings.min_free_bytes
        standing = places(settings)
        self.locations = {
            event_type: Location(standing[event_type], Names(names, event_type, consumer), names.timezone)
            for event_type in TYPES
        }
        try:
            require_partition(self.path, partition)
            make_directory(self.path)
            self._lock = ConsumerLock(self.path, consumer)
            self.id = identify(self.path, partition)
            for location in self.locations.values():
                location.prepare(archiving=archiving)
        except OSError as error:
            raise DiskTrouble(f"{error.filename}: {error.strerror}") from error

    def check(self) -> None:
        """Raise DiskTrouble where this is not the directory any more, is read-only, or has too little room.

        A volume that is not mounted leaves an empty directory behind: nothing may be made in it.
        """
        try:
            found = known_id(self.path)
            if found != self.id:
                raise DiskTrouble(f"{self.path}: directory id is {found}, expected {self.id}: is its volume mounted?")
            for location in self.locations.values():
                make_directory(location.path)
            room = os.statvfs(self.path)
        except (OSError, UnicodeDecodeError) as error:
            raise DiskTrouble(f"{self.path}: {error}: is its volume mounted?") from error
        if room.f_flag & os.ST_RDONLY:
            raise DiskTrouble(f"{self.path}: mounted read-only")
        free_bytes = room.f_bavail * room.f_frsize
        if free_bytes < self._min_free_bytes:
            expected = self._min_free_bytes // 1_000_000
            message = f"{self.path}: {free_bytes // 1_000_000} MB free, expected at least {expected}"
            raise DiskTrouble(message)

    def prove_writable(self, size: int) -> None:
        """Prove, in each location, that so many bytes can be made durable. Raises DiskTrouble."""
        for location in self.locations.values():
            location.prove_writable(self.consumer, size)

    def release(self) -> None:
        """Give the consumer's lock up."""
        self._lock.release()
