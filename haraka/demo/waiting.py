"""Waiting for conditions, never for times; and ports."""

import secrets
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress

POLL_SECONDS = 0.05
#: Below what kernels use for outgoing connections (32768 and up on Linux).
FIRST_PORT, PORTS = 20_000, 12_000


class WaitTimeoutError(Exception):
    """What was waited for did not happen in time."""


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
    """Return as soon as the condition holds; raise WaitTimeoutError with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise WaitTimeoutError(f"waited {timeout_seconds:.0f} s in vain for {what}")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that no process is given as long as this one lives.

    Not one that the kernel chooses: those it also gives to outgoing connections, of which there are many here, so
    that such a port can be taken by the time its server starts.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with closing(socket.socket()) as probe, closing(socket.socket(socket.AF_UNIX)) as mark, suppress(OSError):
            mark.bind(f"\0haraka-accounting-port-{port}")
            probe.bind(("127.0.0.1", port))
            mark.detach()  # held until this process ends
            return port


def answers_smtp(port: int) -> bool:
    """Whether somebody greets on that port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as client:
            return client.recv(3) == b"220"
    except OSError:
        return False


class ClosedPort:
    """A port of 127.0.0.1 that refuses connections, and that nobody else can take meanwhile."""

    def __init__(self) -> None:
        self._socket = socket.socket()  # bound, but it never listens
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
