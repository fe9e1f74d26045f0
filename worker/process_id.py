"""Which process holds something, in a form that tells whether it is gone: of this machine's, since it was started."""

import hashlib
import os
from functools import cache
from pathlib import Path

from worker.fields import is_count


def mine() -> str:
    """Return who this process is: its machine, its number, and when it was started; three words."""
    return f"{_machine()} {os.getpid()} {_started(os.getpid()) or '-'}"


def is_gone(holder: str) -> bool:
    """Tell whether a process that `mine` described is certainly gone: one of another machine never is."""
    machine, _, rest = holder.partition(" ")
    number, _, started = rest.partition(" ")
    if machine in {"-", ""} or machine != _machine() or not is_count(number):
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    now = _started(int(number))
    return now is not None and started not in {"-", now}


@cache
def _machine() -> str:
    """Return what tells this machine's processes from those of others: since its start, and by container."""
    parts = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(Path(path).read_text() if path.startswith("/proc/sys") else os.readlink(path))  # noqa: PTH115
        except OSError:
            return "-"
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _started(number: int) -> str | None:
    """Return when a process was started, in ticks since the machine was; None where that cannot be told."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].split(" ")[19]
    except (OSError, IndexError):
        return None
