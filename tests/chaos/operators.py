"""What the people do who run it, and what happens to their machines: outside of what the commit protocol is about.

A server forgets, a clock is set, an ini is changed between two starts, a directory is moved or copied, a file is
changed from outside. What rows that takes away for good is written down, so that nothing else can be missing.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.chaos.fleet import LAYOUTS, LEASE_SECONDS, Fleet, Member, State
from worker.manifest import manifest_path

_CALM_SECONDS: Final = 2.0 * LEASE_SECONDS  # after a loss: a copy that is started before the original is back goes on
_COPY_SECONDS: Final = LEASE_SECONDS - 2.0
_CUT_ROWS: Final = 5
_DAY: Final = 86_400
_WORKER_JUMPS: Final = (-10 * _DAY, 40 * _DAY, -3600, 3600, 0)
_SERVER_JUMPS: Final = (-120, 120, -20, 20, 0)
OPEN: Final = re.compile(r"(d|df|b)[.-].*")
_RCPT: Final = re.compile(rb"\w+\.\d+@example\.com")
NOT_FILES: Final = {"recovered", "lost", "journal", "series", "copied"}


class Deed(StrEnum):
    """What an operator does."""

    FAIL_OVER = "fail_over"  # to a replica that lags: what came since some moment is forgotten
    EMPTY_SERVER = "empty_server"
    SET_CLOCK = "set_clock"  # of a worker
    SET_SERVER_CLOCK = "set_server_clock"
    RECONFIGURE = "reconfigure"  # at the next start of a worker
    MOVE = "move"  # a directory: its files have other inodes
    COPY = "copy"  # a directory, and a worker in the copy
    GROW = "grow"  # `echo >> file`
    CUT_SHORT = "cut_short"  # `truncate`: these rows are gone


#: How often in 100 of these.
MIX: Final[dict[Deed, int]] = {
    Deed.FAIL_OVER: 12, Deed.EMPTY_SERVER: 7, Deed.SET_CLOCK: 18, Deed.SET_SERVER_CLOCK: 9, Deed.RECONFIGURE: 22,
    Deed.MOVE: 8, Deed.COPY: 9, Deed.GROW: 8, Deed.CUT_SHORT: 7,
}  # fmt: skip


class Operators:
    """Does it to a fleet."""

    def __init__(self, fleet: Fleet, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._fleet = fleet
        self._later = later
        self.spare_server_until = 0.0  # monotonic
        self.surprises: list[str] = []
        self.cut: set[str] = set()  # recipients whose rows were cut off a file

    def do(self, deed: Deed, target: int, seconds: float, choice: int) -> bool:
        """Do it; False where it is not possible now."""
        member = self._fleet.members[target % len(self._fleet.members)]
        match deed:
            case Deed.FAIL_OVER | Deed.EMPTY_SERVER:
                return self._forget(deed, seconds)
            case Deed.SET_CLOCK:
                member.clock.set(seconds=_WORKER_JUMPS[choice % len(_WORKER_JUMPS)])
            case Deed.SET_SERVER_CLOCK:
                self._fleet.server.clock.set(seconds=_SERVER_JUMPS[choice % len(_SERVER_JUMPS)])
            case Deed.RECONFIGURE:
                return self._reconfigure(member, seconds, choice)
            case Deed.MOVE:
                return self._move(member, seconds)
            case Deed.COPY:
                return self._copy(member)
            case Deed.GROW:
                return self._change(member, self._grow, choice)
            case Deed.CUT_SHORT:
                return self._change(member, self._cut_short, choice)
        return True

    # The server

    def _forget(self, deed: Deed, seconds: float) -> bool:
        server = self._fleet.server
        if server.state is not State.UP or time.monotonic() < self.spare_server_until:
            return False
        known = server.length() if deed is Deed.FAIL_OVER else None

        def lose() -> None:
            if server.state is not State.UP or time.monotonic() < self.spare_server_until:
                self._later(1, lose)
                return
            server.signal(signal.SIGKILL, State.DOWN)
            if server.forget(known):
                server.lost_at = time.monotonic()
                self._fleet.losses += 1
            server.start()

        self._later(seconds if known else 0, lose)
        return True

    # Workers and their directories

    def _are_well(self, members: list[Member]) -> bool:
        now = time.monotonic()
        return all(
            each.state is State.UP and each.is_alive() and each.is_ready() and now >= each.spared_until
            for each in members
        )

    def _reconfigure(self, member: Member, seconds: float, choice: int) -> bool:
        if not self._are_well([member]):
            return False
        member.layout = choice % len(LAYOUTS)
        member.kill()
        self._later(seconds, member.start)
        return True

    def _sharing(self, member: Member) -> list[Member]:
        """Return the workers of the same directory."""
        return [each for each in self._fleet.members if each.path == member.path]

    def _move(self, member: Member, seconds: float) -> bool:
        members = self._sharing(member)
        if not self._are_well(members):
            return False
        for each in members:
            each.kill()
        moved = member.path.with_name(f"{member.path.name}.moved")
        shutil.copytree(member.path, moved, symlinks=True)
        shutil.rmtree(member.path)
        moved.rename(member.path)
        for each in members:
            self._later(seconds, each.start)
        return True

    def _copy(self, member: Member) -> bool:
        """Start a worker in a copy of the directory, for less than a lease: it must not begin to work."""
        server, now = self._fleet.server, time.monotonic()
        members = self._sharing(member)
        if server.state is not State.UP or now < server.lost_at + _CALM_SECONDS or not self._are_well(members):
            return False
        copy = self._fleet.home / f"copy-{time.monotonic_ns()}"
        with suppress(shutil.Error):  # what is moved meanwhile is in neither place
            shutil.copytree(member.path, copy, symlinks=True)
        worker = member.in_a_copy(copy, server.port)
        worker.start(ready=False)
        self.spare_server_until = now + LEASE_SECONDS
        for each in members:
            each.spared_until = now + LEASE_SECONDS

        def end() -> None:
            worker.kill()
            if "worker.ready" in worker.log():
                self.surprises.append(f"{member.name} began to work in a copy, {copy}")
            else:
                shutil.rmtree(copy)

        self._later(_COPY_SECONDS, end)
        return True

    # Files

    def _change(self, member: Member, change: Callable[[Path], bool], choice: int) -> bool:
        """Change an open file while the workers of its directory stand still."""
        members = self._sharing(member)
        if not self._are_well(members):
            return False
        for each in members:
            each.signal(signal.SIGSTOP, State.UP)
        try:
            files = _open_files(member.path)
            return bool(files) and change(files[choice % len(files)])
        finally:
            for each in members:
                each.signal(signal.SIGCONT, State.UP)

    @staticmethod
    def _grow(file: Path) -> bool:
        with file.open("ab") as appended:
            appended.write(b"somebody was here\n")
        return True

    def _cut_short(self, file: Path) -> bool:
        content = file.read_bytes()
        rows = content.split(b"\n")
        if len(rows) < 3 * _CUT_ROWS:
            return False
        kept = b"\n".join(rows[: -_CUT_ROWS - 1]) + b"\n"
        self.cut.update(rcpt.decode() for rcpt in _RCPT.findall(content[len(kept) :]))
        os.truncate(file, len(kept) - 3)
        self.cut.update(rcpt.decode() for rcpt in _RCPT.findall(rows[-_CUT_ROWS - 2]))
        return True


def _open_files(path: Path) -> list[Path]:
    """Return the files of a directory that are not sealed."""
    return sorted(
        each
        for each in path.rglob("*")
        if OPEN.fullmatch(each.name) and each.suffix != ".json" and each.is_file()
        and not NOT_FILES & set(each.relative_to(path).parts[:-1]) and not manifest_path(each).exists()
    )  # fmt: skip
