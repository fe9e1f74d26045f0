"""Open accounting files: the only code that writes them.

An `AccountingFile` exists only while its file is open and locked by this process. Up to `committed` bytes its content
is what a commit record says; what is beyond was appended but not acknowledged, and is cut after a crash. The flock
ends with the process, so a lock that can be had tells that the writer is gone.
"""

import errno
import fcntl
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.errors import DiskTrouble, FileBusy
from worker.records import FileState


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: creating, linking and unlinking are not until this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, and durable that they are there."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write with one call; a short write raises OSError as well, since the disk is full or failing."""
    written = os.write(descriptor, data)
    if written != len(data):
        raise OSError(errno.ENOSPC, f"short write: {written} of {len(data)} bytes")


def write_durably(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a whole file so that after a crash either the old or the new content stands there.

    Raises OSError with the name that is written: what is told of a temporary one would be another thing each time.
    """
    # Not the process id: containers that share a volume can have the same.
    temporary = path.with_name(f".{path.name.lstrip('.')}.{secrets.token_hex(4)}.tmp")
    try:
        write_new(temporary, content, mode)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file that is not there yet, durable but for its name; nothing is left where that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


class AccountingFile:
    """One accounting file, open for appending, with its lock held."""

    def __init__(self, path: Path, descriptor: int, state: FileState) -> None:
        self.path = path
        self.state = state  # as committed
        self.is_doubted = False  # a write or fsync failed, or may have: it is cut and sealed, and never written on
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """Return the descriptor, for reading what was written."""
        return self._descriptor

    @classmethod
    def create(cls, path: Path, temporary: Path, header: bytes, opened_ms: int) -> "AccountingFile":
        """Make a file with its header and link it to its name, durably, with the lock held from before it had one.

        `temporary` is a name in the same directory that only this consumer uses. Raises FileExistsError if the name
        is taken, other OSErrors from the disk; what may be left behind then holds a header and no lock, for the scan.
        """
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(descriptor, header)
            os.fsync(descriptor)
            os.link(temporary, path)
            temporary.unlink()
            sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        state = FileState(name=path.name, inode=os.fstat(descriptor).st_ino, length=len(header), opened_ms=opened_ms)
        return cls(path, descriptor, state)

    @classmethod
    def reopen(cls, path: Path, state: FileState) -> "AccountingFile | None":
        """Open and lock a file that a record names; raises FileBusy while another process has it.

        Returns None where the name is gone or now means another file: somebody sealed it.
        """
        try:
            file = cls._lock_existing(path, state)
        except BlockingIOError:
            raise FileBusy(f"{path}: another process has its lock") from None
        if file is not None and not file.is_still_there():
            file.close()
            return None
        return file

    @classmethod
    def adopt_orphan(cls, path: Path) -> "AccountingFile | None":
        """Open and lock a file whose writer is dead; None where somebody has its lock, or it is gone.

        Its state tells nothing but its name and inode: only a record knows what of it is committed.
        """
        try:
            facts = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(facts.st_mode):
            return None
        state = FileState(name=path.name, inode=facts.st_ino, length=0, opened_ms=0)
        try:
            orphan = cls._lock_existing(path, state)
        except BlockingIOError:
            return None
        if orphan is not None and not orphan.is_still_there():
            orphan.close()
            return None
        return orphan

    @classmethod
    def _lock_existing(cls, path: Path, state: FileState) -> "AccountingFile | None":
        """Open and lock a file without waiting; None where it is gone. Raises BlockingIOError where it is busy."""
        try:
            descriptor = _open_existing(path)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        file = cls(path, descriptor, state)
        # How the last fsync of an earlier process ended, nobody knows; what is read-only was durable before.
        file.is_doubted = bool(os.fstat(descriptor).st_mode & stat.S_IWUSR)
        return file

    def is_still_there(self) -> bool:
        """Tell whether the open file is the recorded one and still stands under its name.

        To be asked after every lock (protocol trap 11), before a commit, and before anything is done by its name: an
        editor or logrotate may have swapped it, and rows in a file without a name are lost when it is closed.
        """
        return os.fstat(self._descriptor).st_ino == self.state.inode and self.stands_at(self.path)

    def stands_at(self, path: Path) -> bool:
        """Tell whether a path is a name of this file."""
        mine = os.fstat(self._descriptor)
        try:
            named = path.lstat()
        except OSError:
            return False
        return (named.st_ino, named.st_dev) == (mine.st_ino, mine.st_dev)

    def require_still_there(self) -> None:
        """Raise DiskTrouble where the name is gone, or is another file's: the recovery keeps the rows."""
        if not self.is_still_there():
            raise DiskTrouble(f"{self.path}: removed, renamed or replaced while it was open")

    def content(self) -> bytes:
        """Return what is committed."""
        return os.pread(self._descriptor, self.state.length, 0)

    def append(self, data: bytes) -> None:
        """Append rows. What a failed append left behind is cut by the next `cut`."""
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self.is_doubted |= error.errno not in {errno.ENOSPC, errno.EDQUOT}
            raise DiskTrouble(f"{self.path}: {error.strerror}") from error

    def sync(self) -> None:
        """Make the appended rows durable. After a failure the kernel may have dropped them: never try again."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self.is_doubted = True
            raise DiskTrouble(f"{self.path}: fsync: {error.strerror}") from error

    def size(self) -> int:
        """Return the size in bytes, the uncommitted tail included."""
        return os.fstat(self._descriptor).st_size

    def tail(self) -> bytes:
        """Return what stands beyond the committed length."""
        return os.pread(self._descriptor, self.size() - self.state.length, self.state.length)

    def cut(self) -> None:
        """Cut to the committed length, durably: a cut in the page cache only is undone by a power loss.

        After an fsync that failed, the kernel takes what it could not write for written, and the next fsync finds
        nothing to do. What was committed was durable before, but for the block that it shares with what came after,
        and for the length: both are changed once more, so that they are written again, or told.
        """
        try:
            if self.is_doubted:
                os.ftruncate(self._descriptor, self.state.length + 1)
            os.ftruncate(self._descriptor, self.state.length)
            os.fsync(self._descriptor)
        except OSError as error:
            self.is_doubted = True
            raise DiskTrouble(f"{self.path}: cut: {error.strerror}") from error

    def close(self) -> None:
        """Close, and with it give up the lock; done more than once, it does nothing more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open_existing(path: Path) -> int:
    """Open for writing; a file that is already read-only (its sealing was interrupted) for reading."""
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EROFS}:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
