"""Locks: files that no other user can open, and the locks on consumers' names, `<path>/.<consumer>.lock`.

The files are never unlinked, since a process may wait on the inode. The locks themselves end with the process.
Nobody goes on without a lock, and nobody waits for one for ever, or in silence.
"""

import fcntl
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from worker import modes, regular
from worker.errors import DiskTrouble, Locked
from worker.holders import described, holders_of, locks_on
from worker.log import event

_log = logging.getLogger(__name__)

_ENDING = ".lock"
_LONGEST_HOLDER_BYTES = 200
_CONSUMER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")  # as configurations name them

PAUSE_SECONDS = 0.05
PAUSES = 600  # half a minute: a lock on names is held for a few writes, that on an identity while the server answers
_TOLD_AFTER = 20  # pauses


class _Stop:
    """Whether this process is to stop: then nothing is waited for."""

    asked = False


def stop_waiting() -> None:
    """Let waits for locks end; for the handler of a signal."""
    _Stop.asked = True


def open_lock(path: Path) -> int:
    """Open a file to lock it, made if it is not there; one that others could open, and so hold, they cannot any more.

    Raises OSError, and DiskTrouble for what is no file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, modes.LOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise DiskTrouble(f"{path}: is no file: expected one to lock")
    if stat.S_IMODE(found.st_mode) & ~modes.LOCK and found.st_uid == os.geteuid():
        os.fchmod(descriptor, modes.LOCK)
    return descriptor


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Have the lock on a file, which others have for moments only.

    Raises DiskTrouble, which says who has it, where it cannot be had for half a minute, or this process is to stop;
    OSError.
    """
    descriptor = open_lock(path)
    try:
        _wait(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, path: Path) -> None:
    for pauses in range(PAUSES + 1):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if _Stop.asked:
            break
        if pauses == _TOLD_AFTER:
            event(_log, "lock.waiting", logging.WARNING, file=path, held_by=described(holders_of(descriptor)))
        pause()
    raise DiskTrouble(f"{path}: locked by {described(holders_of(descriptor))}, and not let go of")


def pause() -> None:
    """Let others go on for a moment."""
    time.sleep(PAUSE_SECONDS)


class ConsumerLock:
    """The lock on a consumer's name in one directory: one process at a time, until it dies."""

    def __init__(self, path: Path, consumer: str, holder: str) -> None:
        """Take the lock, and write into it who has it (`process_id`); raises Locked where it is busy."""
        lock = _lock_of(path, consumer)
        if lock is None:
            raise Locked(f"{path}: {consumer!r} is no name of a consumer: expected letters, digits and . _ : -")
        self._descriptor = open_lock(lock)
        if not self._take():
            what = self._told(consumer)
            os.close(self._descriptor)
            raise Locked(f"{path}: {what}")
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n{holder}\n{_here(path)}\n".encode(), 0)

    def _take(self) -> bool:
        """Take the lock; False where a process has it. One that is shared is not had: somebody looks at it."""
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if not _share(self._descriptor):
                return False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _told(self, consumer: str) -> str:
        """Return who has the lock: a worker wrote its number into the file, anybody else did not."""
        known, *_ = _parse(os.pread(self._descriptor, _LONGEST_HOLDER_BYTES, 0))
        holders = holders_of(self._descriptor)
        by = described(holders)
        if holders and known not in map(str, holders):
            return f"the lock of consumer {consumer} is held by {by}, which is no worker that took it"
        return f"consumer {consumer} is already at work here, in {by}"

    def release(self) -> None:
        """Give the lock up; death does it too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_name(consumer: str) -> bool:
    """Tell whether a consumer can be called so: names stand in those of files, and the server may hold any other."""
    return _CONSUMER.fullmatch(consumer) is not None


def _lock_of(path: Path, consumer: str) -> Path | None:
    """Return where the lock on a consumer's name is, None for what is no name."""
    return path / f".{consumer}{_ENDING}" if is_name(consumer) else None


def is_at_work(path: Path, consumer: str) -> bool:
    """Tell whether a process has the lock on a consumer's name in one directory."""
    lock = _lock_of(path, consumer)
    if lock is None:
        return False
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except PermissionError:  # another user's: the kernel tells of its locks, as far as it lets this process see them
        return _is_listed(lock)
    try:
        return not _share(descriptor)
    finally:
        os.close(descriptor)


def is_held_by(path: Path, consumer: str, holder: str) -> bool:
    """Tell whether a process, as `process_id` describes it, has the lock on a consumer's name in one directory.

    That a lock is busy tells little: in a copy of the directory, it may be by a process that waits to begin there. In a
    copy by hard links it is the very lock of the original, so the lock says where it was taken.
    """
    if consumer not in at_work(path):  # what the server calls a consumer is no path
        return False
    try:
        number, known, place = _parse(regular.content(path / f".{consumer}{_ENDING}"))
    except PermissionError:  # another user's, as the whole directory may be
        return True
    if place and place != _here(path):
        return False
    if not known:  # early versions wrote the number alone
        return number == holder.partition(" ")[2].partition(" ")[0]
    return known == holder


def number_in(lock: Path) -> int | None:
    """Return the number of the process that wrote into a lock file. Raises OSError."""
    number, *_ = _parse(regular.content(lock))
    return int(number) if number.isdecimal() else None


def _parse(content: bytes) -> tuple[str, str, str]:
    """Return what stands in a lock file: the number of a process, who that is, and where it is at work."""
    lines = content[:_LONGEST_HOLDER_BYTES].decode("ascii", "replace").split("\n")
    number, holder, place = (line.strip() for line in (*lines, "", "", "")[:3])
    return number, holder, place


def _here(path: Path) -> str:
    """Return what tells a directory from every copy of it on the same volume, whatever it is called: its inode."""
    return str(path.stat().st_ino)


def _is_listed(lock: Path) -> bool:
    """Tell whether the kernel knows of a lock on a file that this user cannot open."""
    return any(locks_on(lock.stat()))


def at_work(path: Path) -> frozenset[str]:
    """Return the consumers of a directory whose names are locked by some process. Raises OSError."""
    names = (lock.name[1 : -len(_ENDING)] for lock in path.glob(f".*{_ENDING}"))
    return frozenset(name for name in names if is_at_work(path, name))


def _share(descriptor: int) -> bool:
    """Take a shared lock, which disturbs nobody else who does; False where somebody has the lock alone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
