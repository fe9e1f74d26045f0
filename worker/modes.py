"""Who may read what this process writes: its user alone, or with `group_readable` its group too.

Everything here can hold addresses. So the umask that a process inherits counts for nothing: it is set at the start, for
accounting files as for what libraries write. Modes in the code are what the group may have at most; the umask takes
away from them what the configuration does not give.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE, SEALED, DIRECTORY = 0o640, 0o440, 0o750
LOCK = SECRET = 0o600  # whoever can open a file can hold a lock on it

_PRIVATE, _GROUP_READABLE = 0o077, 0o027
_OTHERS = 0o007
_OTHERS_WRITE, _GROUP_WRITES = 0o002, 0o020


def take(*, group_readable: bool) -> None:
    """Set the umask of this process, and of those that it starts."""
    os.umask(_GROUP_READABLE if group_readable else _PRIVATE)


def sealed(mode: int) -> int:
    """Return the mode of a file that nobody writes any more."""
    return stat.S_IMODE(mode) & SEALED


def exposed(path: Path, inside: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield which of a directory, and of those inside it, other users can read or change, and what they can do.

    A directory that others cannot enter guards what is in it; links can lead out.
    """
    if words := _exposure(path):
        yield path, words
    root = path.resolve()
    for each in inside:
        is_guarded = not _exposure(path) and each.resolve().is_relative_to(root)
        if not is_guarded and (words := _exposure(each)):
            yield each, words


def _exposure(directory: Path) -> str:
    """Return what users beside the owner can do in a directory that they should not; empty where nothing."""
    try:
        mode = directory.stat().st_mode
    except OSError:
        return ""
    if mode & _OTHERS_WRITE:
        return "everybody can change what is there"
    if mode & _OTHERS:
        return "everybody can look into it"
    return "its group can change what is there" if mode & _GROUP_WRITES else ""
