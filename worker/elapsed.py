"""Time that passes, told by what nobody sets: how long the machine has run, with the time that it was suspended.

The wall clock is set by people and by NTP, forwards and backwards. What has to wait, or to be old enough, goes by this.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from worker.passed_time import Reading

_UPTIME = Path("/proc/uptime")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")


def elapsed_seconds() -> float:
    """Return the seconds since the machine started, to a hundredth; only their differences mean something.

    The kernel's own account comes first: tools that pretend another date to a process change what `clock_gettime`
    says, for every clock.
    """
    with suppress(OSError, ValueError, IndexError):
        return float(_UPTIME.read_text().split()[0])
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def account() -> str:
    """Return what tells whose `elapsed_seconds` these are: those of another start, or container, are others.

    A container can have an uptime of its own (lxcfs) beside the boot id of its host: then the two clocks differ, and
    by how much is a part of the answer.
    """
    apart = round(time.clock_gettime(time.CLOCK_BOOTTIME) - elapsed_seconds())
    return f"{_boot()} {apart}"


@cache
def _boot() -> str:
    """Return the id of this start of the machine and its time namespace; without one, an id of this process."""
    try:
        return f"{_BOOT_ID.read_text().strip()} {_TIME_NAMESPACE.readlink()}"
    except OSError:
        return secrets.token_hex(8)


class Clocks(NamedTuple):
    """The clocks of this machine; tests move them by hand."""

    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    elapsed_seconds: Callable[[], float] = elapsed_seconds
    account: Callable[[], str] = account

    def read(self) -> Reading:
        """Return what they say."""
        return Reading(self.wall_ms(), self.account(), round(self.elapsed_seconds() * 1000))


MACHINE = Clocks()
