"""What can happen between Haraka and its server: each lasts while mail keeps coming, until its function returns."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.outage.lab import Lab
from tests.outage.proxy import Mode

STOPPED_SECONDS = 10.0
MESSAGES = 40  # that come in while an outage lasts

Outage = Callable[[Lab], None]


def server_stopped(lab: Lab) -> None:
    """SIGSTOP: connections stand, and nothing answers."""
    until = time.monotonic() + STOPPED_SECONDS
    with _stopped(lab):
        _spool_some(lab)
        lab.wait(lambda: time.monotonic() > until, "the end of the stop")


def server_killed(lab: Lab) -> None:
    """SIGKILL, and a restart on what it had on disk."""
    lab.valkey.kill()
    _spool_some(lab)
    lab.valkey.start()


def replies_swallowed(lab: Lab) -> None:
    """Every command is executed, and no reply comes back."""
    _with_proxy(lab, Mode.SWALLOW)


def connections_reset(lab: Lab) -> None:
    """Every connection is reset at its first batch: after half of it, or after all of it and before the reply."""
    _with_proxy(lab, Mode.RESET)


def server_full(lab: Lab) -> None:
    """Every write is refused with OOM, until maxmemory is raised again."""
    with lab.valkey.client() as client:
        client.config_set("maxmemory", 1)
        _spool_some(lab)
        client.config_set("maxmemory", 0)


def haraka_killed(lab: Lab) -> None:
    """SIGKILL of every process of Haraka while the server is stopped, so that their spools are left to others."""
    with _stopped(lab):
        _spool_some(lab)
        lab.kill_haraka()
        lab.haraka.start()
        lab.wait_for_mail(MESSAGES)


def _with_proxy(lab: Lab, mode: Mode) -> None:
    lab.proxy.mode = mode
    _spool_some(lab)
    lab.wait(lambda: lab.proxy.faults >= 4, "faults of the connection")
    lab.proxy.mode = Mode.PASS


def _spool_some(lab: Lab) -> None:
    lab.wait_for_mail(MESSAGES)
    lab.wait(lambda: bool(lab.spooled()), "a spool")


@contextmanager
def _stopped(lab: Lab) -> Iterator[None]:
    os.kill(lab.valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(lab.valkey.pid, signal.SIGCONT)
