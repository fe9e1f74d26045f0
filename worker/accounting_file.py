"""Open accounting files: the only code that writes them.

An `AccountingFile` exists only while its file is open and locked by this process. Up to `committed` bytes its content
is what a commit record says; what is beyond was appended but not acknowledged, and is cut after a crash. The flock
ends with the process, so a lock that can be had tells that the writer is gone.
"""

import errno
import fcntl
import os
from pathlib import Path

from worker.errors import DiskTrouble
from worker.records import FileState


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: creating, linking and unlinking are not until this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write with one call; a short write raises DiskTrouble, since the disk is full or failing."""
    written = os.write(descriptor, data)
    if written != len(data):
        raise DiskTrouble(f"short write: {written} of {len(data)} bytes")


class AccountingFile:
    """One accounting file, open for appending, with its lock held."""

    def __init__(self, path: Path, descriptor: int, state: FileState) -> None:
        self.path = path
        self.state = state  # as committed
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """Return the descriptor, for reading what was written."""
        return self._descriptor

    @classmethod
    def create(cls, path: Path, temporary: Path, header: bytes, opened_ms: int) -> "AccountingFile":
        """Make a file with its header and link it to its name, durably, with the lock held from before it had one.

        `temporary` is a name in the same directory that only this consumer uses. Raises FileExistsError if the name
        is taken, other OSErrors from the disk; nothing is left behind then.
        """
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(descriptor, header)
            os.fsync(descriptor)
            os.link(temporary, path)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
        state = FileState(name=path.name, inode=os.fstat(descriptor).st_ino, length=len(header), opened_ms=opened_ms)
        return cls(path, descriptor, state)

    @classmethod
    def reopen(cls, path: Path, state: FileState) -> "AccountingFile | None":
        """Open and lock a file that a record names; wait while another process still has it.

        Returns None where the name is gone or now means another file: somebody sealed it.
        """
        try:
            descriptor = _open_existing(path)
        except FileNotFoundError:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_still(path, descriptor, state.inode):
            os.close(descriptor)
            return None
        return cls(path, descriptor, state)

    def append(self, data: bytes) -> None:
        """Append rows. What a failed append left behind is cut by the next `cut`."""
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            raise DiskTrouble(f"{self.path}: {error.strerror}") from error

    def sync(self) -> None:
        """Make the appended rows durable. After a failure the kernel may have dropped them: never try again."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise DiskTrouble(f"{self.path}: fsync: {error.strerror}") from error

    def size(self) -> int:
        """Return the size in bytes, the uncommitted tail included."""
        return os.fstat(self._descriptor).st_size

    def tail(self) -> bytes:
        """Return what stands beyond the committed length."""
        return os.pread(self._descriptor, self.size() - self.state.length, self.state.length)

    def cut(self) -> None:
        """Cut to the committed length, durably: a cut in the page cache only is undone by a power loss."""
        try:
            os.ftruncate(self._descriptor, self.state.length)
            os.fsync(self._descriptor)
        except OSError as error:
            raise DiskTrouble(f"{self.path}: cut: {error.strerror}") from error

    def close(self) -> None:
        """Close, and with it give up the lock."""
        os.close(self._descriptor)


def _open_existing(path: Path) -> int:
    """Open for writing; a file that is already read-only (its sealing was interrupted) for reading."""
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EROFS}:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _is_still(path: Path, descriptor: int, inode: int) -> bool:
    """Tell whether a locked descriptor is the recorded file, and still stands under its name (protocol trap 11)."""
    mine = os.fstat(descriptor)
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    return mine.st_ino == inode and (named.st_ino, named.st_dev) == (mine.st_ino, mine.st_dev)
