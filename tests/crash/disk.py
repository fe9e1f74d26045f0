"""Disks that can lose what was not fsynced, and an operating system on which processes die between two operations.

Files are real. Every operation that changes something on disk is announced to the `Kernel`, which may let the process
die there, or let another one run, or let the operation fail. A disk remembers what is not durable yet: `power_loss`
takes back a random part of it: appended bytes, cuts, links, unlinks, renames. A process that dies alone loses nothing,
and makes nothing durable. An fsync of a file that failed makes nothing durable either, and what it should have written
the next one takes for written: only what is changed after it reaches the disk.
"""

import errno
import fcntl
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from worker import locks


class Died(BaseException):
    """The process is dead from here on."""


@dataclass
class Unwritten:
    """What a failed fsync should have written: all below `length`, unless it is changed again."""

    length: int
    is_changed: bool = False


@dataclass(eq=False)
class Disk:
    """The tree of one machine, and what of it is not durable."""

    root: Path
    stash: Path  # on the same file system, outside the tree
    contents: dict[int, list[bytes]] = field(default_factory=dict)  # by inode: what stood there before each change
    undo: dict[int, list[Callable[[], None]]] = field(default_factory=dict)  # by inode of the directory
    unwritten: dict[int, "Unwritten"] = field(default_factory=dict)  # by inode: what a failed fsync left
    kept: int = 0

    def __post_init__(self) -> None:
        """Know its paths by how they begin: it is asked at each operation."""
        self.prefix = str(self.root)

    def power_loss(self, chance: random.Random) -> None:
        """Take back a random part of what is not durable: the last changes of each directory and of each file."""
        for changes in self.undo.values():
            keep = chance.randrange(len(changes) + 1)
            for change in reversed(changes[keep:]):
                change()
        paths = {path.stat().st_ino: path for path in sorted(self.root.rglob("*")) if path.is_file()}
        for inode, path in paths.items():
            if inode in self.contents:
                self._take_back(path, self.contents[inode], chance)
        self.contents.clear()
        self.undo.clear()
        self.unwritten.clear()

    def _take_back(self, path: Path, before: list[bytes], chance: random.Random) -> None:
        states = [*before, path.read_bytes()]
        number = chance.randrange(len(states))
        content = states[number]
        if number + 1 < len(states) and states[number + 1].startswith(content):  # a torn write
            content = states[number + 1][: chance.randint(len(content), len(states[number + 1]))]
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(0o600)
        path.write_bytes(content)
        path.chmod(mode)

    def remember_content(self, descriptor: int, length: int | None = None) -> None:
        """Keep what a file holds now, before it is changed or cut to a length; a power loss may bring it back."""
        inode, content = _content(descriptor)
        self.contents.setdefault(inode, []).append(content)
        if left := self.unwritten.get(inode):
            left.is_changed = True
            left.length = min(left.length, len(content) if length is None else length)

    def remember_name(self, path: Any, change: Callable[[], None]) -> None:
        """Keep how to take back a change of a directory."""
        self.undo.setdefault(Path(path).parent.stat().st_ino, []).append(change)

    def sync(self, descriptor: int) -> None:
        """Make a file or a directory durable; of what a failed fsync left, only what was changed since."""
        inode = os.fstat(descriptor).st_ino
        self.undo.pop(inode, None)
        left = self.unwritten.pop(inode, None)
        if left is None:
            self.contents.pop(inode, None)
            return
        content = _content(descriptor)[1]
        durable = self.contents[inode][0]
        if left.is_changed:
            durable = durable[: left.length].ljust(min(left.length, len(content)), b"\0") + content[left.length :]
        if durable == content:
            del self.contents[inode]
        else:
            self.contents[inode] = [durable]
            self.unwritten[inode] = Unwritten(left.length)

    def fail_to_sync(self, descriptor: int) -> None:
        """Forget, as kernels do, that something of a file is not written; a directory is written the next time."""
        inode = os.fstat(descriptor).st_ino
        if inode in self.contents:
            self.unwritten[inode] = Unwritten(os.fstat(descriptor).st_size)

    def keep(self, path: Any) -> Path:
        """Keep a second link to a file, outside the tree, to bring it back."""
        self.kept += 1
        kept = self.stash / str(self.kept)
        os.link(path, kept)
        return kept


def _content(descriptor: int) -> tuple[int, bytes]:
    """Return the inode of an open file, and what it holds."""
    return os.fstat(descriptor).st_ino, Path(f"/proc/self/fd/{descriptor}").read_bytes()


class Kernel:
    """What stands between the processes of a test and the operating system. This one lets all pass."""

    def __init__(self, disks: list[Disk]) -> None:
        self.disks = disks
        self.opened: dict[int, tuple[object, Disk]] = {}  # by descriptor: the process that opened it, and where

    def tick(self, what: str) -> None:
        """Be told of an operation before it is done; may raise Died."""

    def fail(self, what: str) -> None:
        """Be told that an operation begins; may raise the error of a bad disk."""

    def written_of(self, length: int) -> int:
        """Return how much of a write is done."""
        return length

    def look(self, what: str) -> None:
        """Be told of something that changes nothing, where another process may come in between."""

    def wait(self, what: str) -> None:
        """Be told that the process has to wait for another one."""
        raise AssertionError(f"waits for ever: {what}")

    def process(self) -> object:
        """Return the process that runs now."""
        return None

    def pid(self) -> int:
        """Return its number."""
        return 1

    def disk_of(self, path: Any) -> Disk | None:
        """Return the disk that a path is on."""
        return next((disk for disk in self.disks if os.fspath(path).startswith(disk.prefix)), None)

    def close_descriptors(self, process: object) -> None:
        """Close what a dead process had open, and so give up its locks."""
        for descriptor in [each for each, (owner, _) in self.opened.items() if owner is process]:
            os.close(descriptor)


def install(kernel: Kernel, patch: pytest.MonkeyPatch) -> None:
    """Put the kernel between the worker and the operating system."""
    hooks = _Hooks(kernel)
    for name in ("open", "close", "write", "fsync", "ftruncate", "link", "unlink", "replace", "fchmod"):
        patch.setattr(os, name, getattr(hooks, name))
    patch.setattr(fcntl, "flock", hooks.flock)
    patch.setattr(os, "getpid", kernel.pid)
    patch.setattr(locks, "pause", lambda: kernel.wait("flock"))


class _Hooks:
    """The system calls, as the kernel lets them happen."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        names = ("open", "close", "write", "fsync", "ftruncate", "link", "unlink", "replace", "fchmod")
        self._real: dict[str, Any] = {name: getattr(os, name) for name in names}
        self._flock = fcntl.flock

    def open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        disk = self._kernel.disk_of(path) if isinstance(path, str | Path) else None
        if disk is None:
            return int(self._real["open"](path, flags, *args, **kwargs))
        if not flags & os.O_DIRECTORY:
            self._kernel.look(f"open {Path(path).name}")
        if flags & os.O_CREAT:
            self._kernel.fail(f"{'open' if Path(path).exists() else 'create'} {Path(path).name}")
        if flags & os.O_TRUNC and Path(path).exists():
            self._truncated(disk, path)
        descriptor = int(self._real["open"](path, flags, *args, **kwargs))
        self._kernel.opened[descriptor] = (self._kernel.process(), disk)
        return descriptor

    def _truncated(self, disk: Disk, path: Any) -> None:
        descriptor = self._real["open"](path, os.O_RDONLY)
        disk.remember_content(descriptor)
        self._real["close"](descriptor)

    def close(self, descriptor: int) -> None:
        self._kernel.opened.pop(descriptor, None)
        self._real["close"](descriptor)

    def flock(self, descriptor: int, operation: int) -> None:
        if descriptor in self._kernel.opened:
            self._kernel.look("flock")
        self._flock(descriptor, operation)

    def _disk(self, descriptor: int, what: str) -> Disk | None:
        if descriptor not in self._kernel.opened:
            return None
        self._tick(what)
        return self._kernel.opened[descriptor][1]

    def _tick(self, what: str) -> None:
        self._kernel.tick(what)
        self._kernel.fail(what)

    def write(self, descriptor: int, data: bytes) -> int:
        if disk := self._disk(descriptor, f"write {len(data)}"):
            disk.remember_content(descriptor)
            data = data[: self._kernel.written_of(len(data))]
        return int(self._real["write"](descriptor, data))

    def fsync(self, descriptor: int) -> None:
        try:
            disk = self._disk(descriptor, "fsync")
        except OSError:
            self._kernel.opened[descriptor][1].fail_to_sync(descriptor)
            raise
        if disk:
            disk.sync(descriptor)

    def ftruncate(self, descriptor: int, length: int) -> None:
        disk = self._disk(descriptor, f"ftruncate {length}")
        if disk and length != os.fstat(descriptor).st_size:  # else nothing changes, and nothing is to be written
            disk.remember_content(descriptor, length)
        self._real["ftruncate"](descriptor, length)

    def fchmod(self, descriptor: int, mode: int) -> None:
        self._disk(descriptor, "fchmod")
        self._real["fchmod"](descriptor, mode)

    def link(self, source: Any, target: Any) -> None:
        disk = self._kernel.disk_of(target)
        if disk and self._kernel.disk_of(source) not in {disk, None}:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
        if disk:
            self._tick(f"link {Path(source).name} {Path(target).name}")
        self._real["link"](source, target)
        if disk:
            disk.remember_name(target, lambda: self._real["unlink"](target))

    def unlink(self, path: Any, *args: Any, **kwargs: Any) -> None:
        disk = None if "dir_fd" in kwargs else self._kernel.disk_of(path)
        if disk is None:
            self._real["unlink"](path, *args, **kwargs)
            return
        self._tick(f"unlink {Path(path).name}")
        if not os.path.lexists(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        kept = disk.keep(path)
        self._real["unlink"](path)
        disk.remember_name(path, lambda: None if os.path.lexists(path) else self._real["link"](kept, path))

    def replace(self, source: Any, target: Any) -> None:
        disk = self._kernel.disk_of(target)
        if disk is None:
            self._real["replace"](source, target)
            return
        self._tick(f"replace {Path(target).name}")
        kept = disk.keep(target) if os.path.lexists(target) else None
        self._real["replace"](source, target)
        take_back = (lambda: self._real["replace"](kept, target)) if kept else (lambda: self._real["unlink"](target))
        disk.remember_name(target, take_back)
