"""A child process in a process group of its own, with a log file; nothing of the group outlives `stop`."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from haraka.demo.waiting import wait_until

STOP_SECONDS = 30.0
TAIL_LINES = 15


class ProcessDiedError(Exception):
    """A process ended although nobody had stopped it; the message holds the end of its log."""


class Process:
    """One child. A group of its own: Ctrl-C at the terminal reaches it through `stop` alone, in the right order."""

    def __init__(self, name: str, argv: Sequence[str | Path], log: Path, cwd: Path | None = None) -> None:
        self.name, self.log = name, log
        with log.open("ab") as file:
            self._log_start = file.tell()
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process id, which is its group's too."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None as long as it runs."""
        return self._child.poll()

    def logged(self) -> str:
        """Return what it logged since it was started."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode("utf-8", "replace")

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
        """Wait for the condition; raise ProcessDiedError as soon as the process is gone."""

        def holds() -> bool:
            gone = self._child.poll() is not None
            if condition():  # looked at after the poll: it may have said so with its last words
                return True
            if gone:
                self.check()
            return False

        wait_until(holds, f"{what} of {self.name} (log: {self.log})", timeout_seconds)

    def check(self) -> None:
        """Raise ProcessDiedError where it runs no more."""
        code = self._child.poll()
        if code is not None:
            tail = "\n".join(self.logged().splitlines()[-TAIL_LINES:])
            raise ProcessDiedError(f"{self.name} ended with code {code}; {self.log} ends in:\n{tail}")

    def stop(self, how: signal.Signals = signal.SIGTERM, patience_seconds: float = STOP_SECONDS) -> int:
        """Ask it to stop, wait, kill what is left of its group; return its exit code."""
        try:
            if self._child.poll() is None:
                self._child.send_signal(how)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(patience_seconds)
        finally:
            self.kill()
        return self._child.returncode

    def kill(self) -> None:
        """Kill the whole group at once, and reap the child."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()
