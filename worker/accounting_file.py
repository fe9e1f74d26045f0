"""Open accounting files: the only code that writes them.

An `AccountingFile` exists only while its file is open and locked by this process. Up to its state's length its content
is what a commit record says; what is beyond was appended but not acknowledged, and is cut after a crash. The flock
ends with the process, so a lock that can be had tells that the writer is gone.

Whoever appends keeps a running SHA-256 of what was committed. So a file that somebody else changed is told from what
this process wrote, without reading it again: by its size at once, by its content once it is verified.
"""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from worker import modes
from worker.durable import read_range, sync_directory, write_all
from worker.errors import DiskTrouble, FileBusy
from worker.records import FileState

_LONGEST_HEADER_BYTES = 1 << 20


class _Digest(Protocol):
    """A running SHA-256."""

    def update(self, data: bytes, /) -> None: ...
    def copy(self) -> "_Digest": ...
    def hexdigest(self) -> str: ...


class AccountingFile:
    """One accounting file, open for appending, with its lock held."""

    def __init__(self, path: Path, descriptor: int, state: FileState) -> None:
        self.path = path
        self.state = state  # as committed
        self.is_doubted = False  # a write or fsync failed, or may have: it is cut and sealed, and never written on
        self.is_changed = False  # by somebody else, while it was open: likewise
        self._descriptor = descriptor
        self._committed: _Digest | None = None  # of the content up to the state's length, where this process wrote it
        self._appended: _Digest | None = None  # of all that was appended

    @property
    def descriptor(self) -> int:
        """Return the descriptor, for reading what was written."""
        return self._descriptor

    @classmethod
    def create(cls, path: Path, temporary: Path, header: bytes, *, opened_ms: int, series: str) -> "AccountingFile":
        """Make a file with its header and link it to its name, durably, with the lock held from before it had one.

        `temporary` is a name in the same directory that only this consumer uses. Raises FileExistsError if the name
        is taken, other OSErrors from the disk; what may be left behind then holds a header and no lock, for the scan.
        """
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, modes.FILE)
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
        digest = hashlib.sha256(header)
        file = cls(path, descriptor, FileState(
            name=path.name, inode=os.fstat(descriptor).st_ino, length=len(header), opened_ms=opened_ms,
            sha256=digest.hexdigest(), series=series,
        ))  # fmt: skip
        file._committed = digest
        return file

    @classmethod
    def reopen(cls, path: Path, state: FileState) -> "AccountingFile | None":
        """Open and lock a file that a record names; raises FileBusy while another process has it, OSError.

        Returns None where the name is gone or means another file by now: it was sealed, or its content is not what was
        committed. A file that was moved or restored has another inode; then its content tells.
        """
        try:
            file = cls._lock_existing(path, state)
        except BlockingIOError:
            raise FileBusy(f"{path}: another process has its lock") from None
        if file is None:
            return None
        if not file.stands_at(file.path) or not file.is_the_recorded_one():
            file.close()
            return None
        return file

    def is_the_recorded_one(self) -> bool:
        """Tell whether this is the file of its state: by the inode, or by its content where it has another one.

        In the latter case the state has the inode that it has now. Raises OSError.
        """
        inode = os.fstat(self._descriptor).st_ino
        if inode == self.state.inode:
            return True
        if self.state.sha256 is None or not self.has_committed_content():
            return False
        self.state = msgspec.structs.replace(self.state, inode=inode)
        return True

    def has_committed_content(self) -> bool:
        """Tell whether its first bytes are those that were committed, which may mean to read them. Raises OSError."""
        if self.state.sha256 is None:  # an early version's record
            return True
        return self.size() >= self.state.length and self._digest_of_committed().hexdigest() == self.state.sha256

    def forget_content(self) -> None:
        """Know nothing of the content any more: what is asked for is read again."""
        self._committed = self._appended = None

    def read_sha256(self) -> str:
        """Return the SHA-256 of what is committed, which may mean to read it. Raises OSError."""
        return self._digest_of_committed().hexdigest()

    def _digest_of_committed(self) -> _Digest:
        """Return the digest of what is committed; what another process wrote is read for it, once. Raises OSError."""
        if self._committed is None:
            digest = hashlib.sha256()
            for piece in self.content():
                digest.update(piece)
            self._committed = digest
        return self._committed

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

    def content(self, length: int | None = None) -> Iterator[bytes]:
        """Yield what is committed, or the first bytes of it, in pieces; raises OSError where the file is shorter."""
        return read_range(self._descriptor, 0, self.state.length if length is None else length)

    def first_line(self) -> bytes:
        """Return its first line with the line break, or as much of it as a header can have. Raises OSError."""
        start = os.pread(self._descriptor, _LONGEST_HEADER_BYTES, 0)
        return start[: start.find(b"\n") + 1] or start

    def append(self, data: bytes) -> None:
        """Append rows. What a failed append left behind is cut by the next `cut`.

        A file that is not as long as was committed was changed by somebody else: then nothing is appended.
        """
        self.require_size(self.state.length)
        try:
            self._appended = self._digest_of_committed().copy()
            write_all(self._descriptor, data)
        except OSError as error:
            self.is_doubted |= error.errno not in {errno.ENOSPC, errno.EDQUOT}
            raise DiskTrouble(f"{self.path}: {error.strerror}") from error
        self._appended.update(data)

    def require_size(self, expected: int) -> None:
        """Raise DiskTrouble where the file is longer or shorter: it was changed while it was open."""
        if (size := self.size()) != expected:
            self.is_changed = True
            raise DiskTrouble(f"{self.path}: has {size} bytes, expected {expected}: changed while it was open")

    def appended_sha256(self) -> str | None:
        """Return the SHA-256 of its content, as this process has appended it."""
        return self._appended.hexdigest() if self._appended else self.state.sha256

    def acknowledge(self, state: FileState) -> None:
        """Take over the state that a commit has recorded."""
        known = (self._appended, self._committed)
        self._committed = next((each for each in known if each and each.hexdigest() == state.sha256), None)
        self._appended, self.state = None, state

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

    def tail(self) -> Iterator[bytes]:
        """Yield what stands beyond the committed length, in pieces. Raises OSError."""
        return read_range(self._descriptor, self.state.length, self.size())

    def cut(self) -> None:
        """Cut to the committed length, durably: a cut in the page cache only is undone by a power loss.

        After an fsync that failed, the kernel takes what it could not write for written, and the next fsync finds
        nothing to do. What was committed was durable before, but for the block that it shares with what came after,
        and for the length: both are changed once more, so that they are written again, or told.
        """
        self._appended = None
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


_NO_WAITING = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would be waited for


def _open_existing(path: Path) -> int:
    """Open for writing; a file that is already read-only (its sealing was interrupted) for reading."""
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | _NO_WAITING)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EROFS}:
            raise
        return os.open(path, os.O_RDONLY | _NO_WAITING)
