"""What can happen between Haraka and its server while mail keeps coming, and to Haraka itself meanwhile.

A fault lasts as long as its context. An act is a whole test: it returns when everything works again.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from tests.outage.lab import Lab
from tests.outage.proxy import Mode

STOPPED_SECONDS = 10.0
MESSAGES = 40  # that come in while an outage lasts
FEW = 8
LONGEST_PAUSE_SECONDS = 1.5  # before Haraka is killed: a connection to the server, a claim and a drain take less

Fault = Callable[[Lab], AbstractContextManager[None]]
Act = Callable[[Lab], None]


@contextmanager
def server_stopped(lab: Lab) -> Iterator[None]:
    """SIGSTOP: connections stand, and nothing answers."""
    until = time.monotonic() + STOPPED_SECONDS
    os.kill(lab.valkey.pid, signal.SIGSTOP)
    try:
        yield
        lab.wait(lambda: time.monotonic() > until, "the end of the stop")
    finally:
        os.kill(lab.valkey.pid, signal.SIGCONT)


@contextmanager
def server_killed(lab: Lab) -> Iterator[None]:
    """SIGKILL, and a restart on what it had on disk."""
    lab.valkey.kill()
    yield
    lab.valkey.start()


@contextmanager
def replies_swallowed(lab: Lab) -> Iterator[None]:
    """Every command is executed, and no reply comes back."""
    with _proxy(lab, Mode.SWALLOW):
        yield


@contextmanager
def connections_reset(lab: Lab) -> Iterator[None]:
    """Every connection is reset at its first batch: after half of it, or after all of it and before the reply."""
    with _proxy(lab, Mode.RESET):
        yield


@contextmanager
def server_full(lab: Lab) -> Iterator[None]:
    """Every write is refused with OOM, until maxmemory is raised again."""
    with lab.client() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


def ride_out(fault: Fault) -> Act:
    """Let mail come while the fault lasts."""

    def act(lab: Lab) -> None:
        with fault(lab):
            _spool_some(lab)

    return act


def haraka_killed_during(fault: Fault, seed: int) -> Act:
    """SIGKILL all of Haraka in the middle of the fault, so that its spools are left to the next one."""

    def act(lab: Lab) -> None:
        with fault(lab):
            _spool_some(lab)
            _kill_at_random(lab, random.Random(seed))
            lab.wait_for_mail(FEW)

    return act


def haraka_killed_publishing(seed: int) -> Act:
    """SIGKILL Haraka again and again while everything works: batches are under way, hooks wait for them."""

    def act(lab: Lab) -> None:
        moments = random.Random(seed)
        for _ in range(4):
            _kill_at_random(lab, moments)
            lab.wait_for_mail(FEW)

    return act


def haraka_killed_draining(seed: int) -> Act:
    """SIGKILL Haraka when the server has just come back and the spool is being brought to it, by whoever claimed it."""

    def act(lab: Lab) -> None:
        moments = random.Random(seed)
        for _ in range(2):
            with server_killed(lab):
                _spool_some(lab, FEW)
            _kill_at_random(lab, moments, 0.5)
            _kill_at_random(lab, moments)
        lab.wait_for_mail(FEW)

    return act


def haraka_killed_claiming(seed: int) -> Act:
    """SIGKILL Haraka while it claims what the last one left, and its next one while it brings that."""

    def act(lab: Lab) -> None:
        moments = random.Random(seed)
        with server_killed(lab):
            _spool_some(lab, FEW)
            for _ in range(2):
                _kill_at_random(lab, moments)
                lab.wait_for_mail(FEW)
        _kill_at_random(lab, moments, 0.5)
        lab.wait_for_mail(FEW)

    return act


def server_late(lab: Lab) -> None:
    """Start the server, which was not there when Haraka started."""
    _spool_some(lab)
    lab.valkey.start()


def nobody_takes_anything(lab: Lab) -> None:
    """Stop the server where the spool cannot be written either: hooks wait for longer than Haraka's plugin_timeout."""
    with server_stopped(lab):
        lab.wait_for_mail(MESSAGES // 2)
        lab.wait(lambda: "cannot spool" in lab.haraka.log(), "a disk that fails")


def inis_edited(lab: Lab) -> None:
    """Give the node another name in one file, and the server another address in the other."""

    def producers(node: str) -> int:
        return len({event["eventId"].partition(":")[0] for event in lab.events() if event["node"] == node})

    settings = lab.haraka.settings
    processes = max(1, settings.nodes or 1)
    settings = replace(settings, accounting={**settings.accounting, "node": "edited"})
    lab.haraka.configure(settings)
    lab.wait(lambda: producers("edited") >= processes, "events of each process under the new name")
    lab.haraka.configure(replace(settings, redis_port=lab.detour.port))
    lab.wait(lambda: lab.detour.connections >= processes, "connections to the new address")
    lab.wait_for_mail(FEW)


@contextmanager
def _proxy(lab: Lab, mode: Mode) -> Iterator[None]:
    faults, lab.proxy.mode = lab.proxy.faults, mode
    yield
    lab.wait(lambda: lab.proxy.faults >= faults + 4, "faults of the connection")
    lab.proxy.mode = Mode.PASS


def _spool_some(lab: Lab, messages: int = MESSAGES) -> None:
    lab.wait_for_mail(messages)
    lab.wait(lambda: bool(lab.spooled()), "a spool")


def _kill_at_random(lab: Lab, moments: random.Random, longest_seconds: float = LONGEST_PAUSE_SECONDS) -> None:
    until = time.monotonic() + moments.uniform(0, longest_seconds)
    lab.wait(lambda: time.monotonic() > until, "a moment")
    lab.kill_haraka()
    lab.haraka.start()
