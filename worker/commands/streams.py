"""The standard streams of a command: always there, never a reason for a traceback, plain where that is asked for."""

import io
import os
import select
import signal
import sys
from typing import NoReturn

from rich.console import Console

_NO_TERMINAL = {"dumb", "unknown"}


def prepare() -> None:
    """Put something in the place of streams that are closed, and let no character be one that cannot be written.

    The next file that is opened would have the number of a closed one, and what is told would go into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what was told; raises OSError where nobody takes it, BrokenPipeError for one that has read enough."""
    sys.stdout.flush()


def give_up() -> None:
    """Drop what could not be written, so that the end of the process does not try again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def end_by_pipe() -> NoReturn:
    """End as any program whose reader has gone, such as `head`: by SIGPIPE, which says neither yes nor no."""
    give_up()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    raise SystemExit(128 + signal.SIGPIPE)  # where the signal is blocked


def reader() -> select.poll:
    """Return what has something to say, when it is polled, once nobody reads standard output any more."""
    found = select.poll()
    found.register(sys.stdout, 0)
    return found


def is_plain() -> bool:
    """Tell whether no colours are wanted: NO_COLOR is set, or TERM is that of a terminal which has none."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in _NO_TERMINAL


class _Console(Console):
    """A console that leaves it to `end_by_pipe` what comes of a reader that has gone: rich would end with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return what tables and bars are shown on; no text is markup there."""
    return _Console(
        stderr=stderr, width=width, color_system=None if is_plain() else "auto", markup=False, emoji=False,
        highlight=False,
    )  # fmt: skip
