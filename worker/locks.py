"""Locks on consumers' names in a directory: `<path>/.<consumer>.lock`.

The files are never unlinked, since a process may wait on the inode. The locks themselves end with the process.
"""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from worker.errors import Locked

_ENDING = ".lock"
_LONGEST_HOLDER_BYTES = 200
_CONSUMER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")  # as configurations name them


class ConsumerLock:
    """The lock on a consumer's name in one directory: one process at a time, until it dies."""

    def __init__(self, path: Path, consumer: str, holder: str) -> None:
        """Take the lock, and write into it who has it (`process_id`); raises Locked where it is busy."""
        lock = _lock_of(path, consumer)
        if lock is None:
            raise Locked(f"{path}: {consumer!r} is no name of a consumer: expected letters, digits and . _ : -")
        self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._take():
            known, _ = _parse(os.pread(self._descriptor, _LONGEST_HOLDER_BYTES, 0))
            os.close(self._descriptor)
            raise Locked(f"{path}: consumer {consumer} is already at work here, in process {known or 'unknown'}")
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n{holder}\n".encode(), 0)

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
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
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

    That a lock is busy tells little: in a copy of the directory, it may be by a process that waits to begin there.
    """
    if consumer not in at_work(path):  # what the server calls a consumer is no path
        return False
    try:
        number, known = _parse((path / f".{consumer}{_ENDING}").read_bytes())
    except PermissionError:  # another user's, as the whole directory may be
        return True
    if not known:  # early versions wrote the number alone
        return number == holder.partition(" ")[2].partition(" ")[0]
    return known == holder


def number_in(lock: Path) -> int | None:
    """Return the number of the process that wrote into a lock file. Raises OSError."""
    number, _ = _parse(lock.read_bytes())
    return int(number) if number.isdecimal() else None


def _parse(content: bytes) -> tuple[str, str]:
    """Return what stands in a lock file: the number of a process, and who that is."""
    number, _, holder = content[:_LONGEST_HOLDER_BYTES].decode("ascii", "replace").partition("\n")
    return number.strip(), holder.strip()


def _is_listed(lock: Path) -> bool:
    """Tell whether /proc/locks (proc_locks(5)) names a lock on a file."""
    found = lock.stat()
    device, inode = found.st_dev, found.st_ino
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    return any(wanted in line.split() for line in Path("/proc/locks").read_text("ascii").splitlines())


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
