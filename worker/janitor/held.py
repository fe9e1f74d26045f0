"""A sealed file, held: locked, so that no worker finishes its sealing or its move meanwhile.

A worker holds the lock of a file from before its birth until it is sealed and moved; one that restarts, or finds a
dead one's file, takes it again first. So who has the lock and sees the file still in its place may change where and in
what form it stands. The lock ends with the process.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.inventory import Place, Stored
from worker.janitor import durable
from worker.manifest import manifest_path


class Unfit(Exception):
    """The file cannot be worked on, and trying again soon is no use; the message says why."""


class Busy(Exception):
    """A worker is at this file, or it is somewhere else by now: the next run looks again."""


@contextmanager
def held(stored: Stored, place: Place) -> Iterator[None]:
    """Hold the content of a sealed file; raises Busy, or Unfit for what is no sealed file."""
    try:
        descriptor = os.open(stored.content_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Busy from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        _check(descriptor, stored, place)
        yield
    finally:
        os.close(descriptor)


def _check(descriptor: int, stored: Stored, place: Place) -> None:
    """Make sure that the locked file is the one in its place, that it is sealed, and that its move is over."""
    mine = os.fstat(descriptor)
    try:
        named = stored.content_path.lstat()
    except FileNotFoundError:
        raise Busy from None
    if (named.st_ino, named.st_dev) != (mine.st_ino, mine.st_dev):
        raise Busy
    if not stat.S_ISREG(mine.st_mode):
        raise Unfit("no regular file")
    if mine.st_mode & 0o222:
        raise Busy  # a manifest without the read-only bit: its sealing was interrupted, and a worker will finish it
    origin = place.open / stored.path.name
    if stored.path != origin and (os.path.lexists(origin) or os.path.lexists(manifest_path(origin))):
        raise Busy


def require_as_sealed(stored: Stored) -> tuple[int, ...]:
    """Compare the content of a sealed file with its manifest, and return its `version`. Raises Unfit, Busy, OSError."""
    manifest = stored.manifest
    assert manifest is not None  # noqa: S101  # only sealed files come here
    form = manifest.compressed or manifest
    path = stored.content_path
    try:
        before = version(path)
        if path.lstat().st_size != form.bytes or durable.digest(path) != form.sha256:
            raise Unfit(f"{path.name} is not what its manifest says, and is kept")
    except FileNotFoundError:
        raise Busy from None
    return before


def version(path: Path) -> tuple[int, ...]:
    """Return what is another as soon as a file is changed or replaced. Raises OSError."""
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
