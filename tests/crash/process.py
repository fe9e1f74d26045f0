"""A simulated process: a thread that runs only while it has the baton, and gives it back between two operations."""

import threading
from collections.abc import Callable

from tests.crash.disk import Died


class Process:
    """One process of the simulation; exactly one of them, or the simulation itself, runs at a time."""

    def __init__(self, name: str, body: Callable[["Process"], None], *, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.fault: str | None = None  # what befalls its next request: "lost reply" or "late"
        self.fails_in = 0  # so many operations on its disk, the last of which fails
        self._next: object = ""
        self.done = False
        self.error: BaseException | None = None
        self._body = body
        self._dead = False
        self._budget = 0
        self._go, self._back = threading.Lock(), threading.Lock()  # held until the other side hands the baton over
        self._go.acquire()
        self._back.acquire()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def next(self) -> str:
        """Return the operation before which it stands, in words."""
        return str(self._next)

    def resume(self, operations: int) -> None:
        """Let it run for so many operations; it stops before the next one."""
        if not self.done:
            self._budget = operations
            self._go.release()
            self._back.acquire()

    def kill(self) -> None:
        """Let it die where it stands: nothing that it would do is done."""
        self._dead = True
        self.resume(0)
        assert self.done

    def tick(self, what: object) -> None:
        """Be about to do an operation; raises Died where the process was killed."""
        self._next = what
        while not self._dead and self._budget <= 0:
            self._hand_back()
        if self._dead:
            raise Died
        self._budget -= 1

    def wait(self, what: str) -> None:
        """Give the baton back until resumed: somebody else has to do something first."""
        self._budget = 0
        self.tick(what)

    def _hand_back(self) -> None:
        self._back.release()
        self._go.acquire()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._body(self)
        except Died:
            pass
        except BaseException as error:  # noqa: BLE001  # the simulation reports it
            self.error = error
        self.done = True
        self._back.release()
