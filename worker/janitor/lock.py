"""The lock that makes one janitor of many: whoever has it works on the directory's sealed files (protocol trap 29)."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import Locked
from worker.holders import described, holders_of
from worker.locks import open_lock

_NAME = ".janitor"  # not `.janitor.lock`: that is the lock of a consumer called janitor


@contextmanager
def janitor_lock(directory: Path) -> Iterator[None]:
    """Be the directory's janitor; raises Locked that names the one that is. The file is never unlinked."""
    descriptor = open_lock(directory / _NAME)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = described(holders_of(descriptor))
            message = f"{directory}: {holder} is at work on the sealed files; try again when it is done"
            raise Locked(message) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
