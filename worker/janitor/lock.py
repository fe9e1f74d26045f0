"""The lock that makes one janitor of many: whoever has it works on the directory's sealed files (protocol trap 29)."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import Locked

_NAME = ".janitor"  # not `.janitor.lock`: that is the lock of a consumer called janitor


@contextmanager
def janitor_lock(directory: Path) -> Iterator[None]:
    """Be the directory's janitor; raises Locked with the pid of the one that is. The file is never unlinked."""
    descriptor = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            message = f"{directory}: process {holder} is at work on the sealed files; try again when it is done"
            raise Locked(message) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
