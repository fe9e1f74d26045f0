"""A disk that can fail: the real file system, on which a process dies at its n-th operation, or the power goes.

Every operation that changes something on disk is counted, and so is every request to the server. At the n-th one
`Died` is raised, and at every one after it, so that no clean-up of the dying process changes anything any more.
`power_loss` then takes back a random part of what was not fsynced: appended bytes, cuts, links, unlinks, renames.
"""

import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


class Died(BaseException):
    """The process is dead from here on."""


@dataclass
class Disk:
    """What is not durable yet, and when the process dies."""

    root: Path
    stash: Path
    die_at: int | None = None
    operations: int = 0
    lived: int = 0  # operations of the life before
    synced_size: dict[int, int] = field(default_factory=dict)  # by inode, where appended bytes are not durable
    cut_tails: dict[int, bytes] = field(default_factory=dict)  # by inode, where a cut is not durable
    undo: dict[int, list[Callable[[], None]]] = field(default_factory=dict)  # by directory inode

    def arm(self, die_at: int | None) -> None:
        """Let the process die at its n-th operation from now on, or not at all."""
        self.lived = self.operations
        self.die_at, self.operations = die_at, 0

    def tick(self) -> None:
        """Count an operation; raise Died where the process is dead."""
        self.operations += 1
        if self.die_at is not None and self.operations >= self.die_at:
            raise Died

    def survive(self) -> None:
        """Let the process alone have died: everything that was written is there."""
        self.synced_size.clear()
        self.cut_tails.clear()
        self.undo.clear()

    def power_loss(self, chance: random.Random) -> None:
        """Take back a random part of what was not durable."""
        for changes in self.undo.values():
            keep = chance.randrange(len(changes) + 1)
            for change in reversed(changes[keep:]):
                change()
        for path in self._files():
            inode = path.stat().st_ino
            if inode in self.cut_tails and chance.random() < 0.5:
                mode = path.stat().st_mode
                path.chmod(0o600)
                with path.open("ab") as file:
                    file.write(self.cut_tails[inode])
                path.chmod(stat.S_IMODE(mode))
            elif inode in self.synced_size and path.stat().st_size > self.synced_size[inode]:
                os.truncate(path, chance.randint(self.synced_size[inode], path.stat().st_size))
        self.survive()

    def _files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file()]

    def keep(self, path: Path) -> Path:
        """Keep a second link to a file, outside the tree, to bring it back."""
        kept = self.stash / str(len(list(self.stash.iterdir())))
        os.link(path, kept)
        return kept


def install(disk: Disk, patch: pytest.MonkeyPatch) -> None:  # noqa: C901
    """Put the disk between the process and the operating system."""
    real = {name: getattr(os, name) for name in ("write", "fsync", "ftruncate", "link", "unlink", "replace", "fchmod")}

    def remember(path: Any, change: Callable[[], None]) -> None:
        directory = Path(path).parent.stat().st_ino
        disk.undo.setdefault(directory, []).append(change)

    def within(path: Any) -> bool:
        return Path(path).is_relative_to(disk.root)

    def write(descriptor: int, data: bytes) -> int:
        if not _is_in(descriptor, disk.root):
            return int(real["write"](descriptor, data))
        disk.tick()
        facts = os.fstat(descriptor)
        disk.synced_size.setdefault(facts.st_ino, facts.st_size)
        return int(real["write"](descriptor, data))

    def fsync(descriptor: int) -> None:
        disk.tick()
        facts = os.fstat(descriptor)
        if stat.S_ISDIR(facts.st_mode):
            disk.undo.pop(facts.st_ino, None)
        disk.synced_size.pop(facts.st_ino, None)
        disk.cut_tails.pop(facts.st_ino, None)

    def ftruncate(descriptor: int, length: int) -> None:
        disk.tick()
        facts = os.fstat(descriptor)
        if facts.st_size > length and facts.st_ino not in disk.synced_size:
            disk.cut_tails[facts.st_ino] = os.pread(descriptor, facts.st_size - length, length)
        real["ftruncate"](descriptor, length)

    def link(source: Any, target: Any) -> None:
        if not within(target):
            real["link"](source, target)
            return
        disk.tick()
        real["link"](source, target)
        remember(target, lambda: real["unlink"](target))

    def unlink(path: Any, *args: Any, **kwargs: Any) -> None:
        if not within(path):
            real["unlink"](path, *args, **kwargs)
            return
        disk.tick()
        if not os.path.lexists(path):
            raise FileNotFoundError(path)
        kept = disk.keep(Path(path))
        real["unlink"](path)
        remember(path, lambda: real["link"](kept, path) if not os.path.lexists(path) else None)

    def replace(source: Any, target: Any) -> None:
        disk.tick()
        kept = disk.keep(Path(target)) if os.path.lexists(target) else None
        real["replace"](source, target)
        remember(target, (lambda: real["replace"](kept, target)) if kept else (lambda: real["unlink"](target)))

    def fchmod(descriptor: int, mode: int) -> None:
        disk.tick()
        real["fchmod"](descriptor, mode)

    for name, function in {
        "write": write, "fsync": fsync, "ftruncate": ftruncate, "link": link, "unlink": unlink,
        "replace": replace, "fchmod": fchmod,
    }.items():  # fmt: skip
        patch.setattr(os, name, function)


def _is_in(descriptor: int, root: Path) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(root)
