"""Who holds a lock on a file, as far as this process may see.

/proc/locks (proc_locks(5)) has the process that took the lock. It may have died since and left it to a child, which is
not told there.
"""

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def holders_of(descriptor: int) -> list[int]:
    """Return which processes hold a lock on an open file, as far as they can be seen.

    Where the one that took it has died, these are the processes that have the file open: one of them was left the lock.
    """
    found = os.fstat(descriptor)
    return list(_listed(found)) or [number for number in _with_it_open(found) if number != os.getpid()]


def described(holders: Iterable[int]) -> str:
    """Return processes in words."""
    return ", ".join(map(_described, holders)) or "a process that cannot be seen from here"


def _listed(file: os.stat_result) -> Iterator[int]:
    """Yield the living processes that took a lock on a file, as far as they are told."""
    with suppress(OSError, ValueError):
        for words in locks_on(file):
            if "->" not in words and _is_alive(words[4]):
                yield int(words[4])


def locks_on(file: os.stat_result) -> Iterator[list[str]]:
    """Yield the lines about a file in /proc/locks, in words: locks, and whoever waits for one. Raises OSError."""
    wanted = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    for line in (_PROC / "locks").read_text("ascii").splitlines():
        if wanted in (words := line.split()):
            yield words


def _is_alive(number: str) -> bool:
    """Tell whether a process is there, and not only what its parent has to be told."""
    with suppress(OSError):
        return (_PROC / number / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] not in "ZX"
    return False


def _with_it_open(file: os.stat_result) -> Iterator[int]:
    """Yield the processes that have a file open: of others, root alone sees that."""
    for process in _PROC.iterdir():
        if process.name.isdecimal():
            with suppress(OSError):
                if any(_is(each, file) for each in (process / "fd").iterdir()):
                    yield int(process.name)


def _is(opened: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(opened.stat(), file)
    except OSError:  # closed meanwhile
        return False


def _described(number: int) -> str:
    process = _PROC / str(number)
    try:
        command = (process / "comm").read_text("utf-8", "replace").strip()
        return f"process {number} ({command}, user {_user(process.stat().st_uid)})"
    except OSError:
        return f"process {number}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
