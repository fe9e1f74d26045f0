"""Acceptances: what a person has looked at and said so, in files of `<path>/accepted/`.

What was lost stays lost, and an audit that fails for ever is soon not read any more. An accepted finding is told and
fails no audit. It is accepted as it is: where its count, its file or the content of a note is another one, it is
another finding. Nothing is ever taken out of these files by a program.
"""

import os
import pwd
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from worker import regular
from worker.audit.finding import Finding, NotAudited
from worker.durable import make_directory, sync_directory, write_durably
from worker.erasure.matching import IsWanted, erased

FOLDER = "accepted"


class Acceptance(Struct, frozen=True, kw_only=True):
    """What was accepted at once, and by whom."""

    at_ms: int
    by: str  # user and host
    reason: str
    findings: Sequence[Finding]


class Accepted(Struct, frozen=True, kw_only=True):
    """A finding that was accepted."""

    finding: Finding
    at_ms: int
    by: str
    reason: str


class Acceptances:
    """What was accepted, in whichever directory that was noted."""

    def __init__(
        self, known: Iterable[Acceptance] = (), roots: Sequence[Path] = (), is_forgotten: IsWanted = lambda _: False
    ) -> None:
        """`roots` are the directories that are looked at: a file in them is the same after they were moved.

        A recipient that is forgotten stands in no acceptance any more, though the streams tell of it for a while.
        """
        self._roots = roots
        self._is_forgotten = is_forgotten
        self._known = {_same(finding): each for each in known for finding in each.findings}

    def split(self, findings: Iterable[Finding]) -> tuple[list[Finding], list[Accepted]]:
        """Return the findings that nobody accepted, and those that somebody did."""
        left, accepted = [], []
        for finding in findings:
            if by := self._known.get(_same(self._without(_moved(finding, self._roots)))):
                accepted.append(Accepted(finding=finding, at_ms=by.at_ms, by=by.by, reason=by.reason))
            else:
                left.append(finding)
        return left, accepted

    def _without(self, finding: Finding) -> Finding:
        rcpt = finding.rcpt and erased(finding.rcpt, self._is_forgotten, is_address=True)
        return msgspec.structs.replace(finding, rcpt=rcpt)


def read(path: Path) -> list[Acceptance]:
    """Return what was accepted in a directory. Raises OSError, and NotAudited for what is no acceptance."""
    found, folder = [], path / FOLDER
    for file in sorted(folder.glob("*.json")):
        try:
            found.append(msgspec.json.decode(regular.content(file), type=Acceptance))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NotAudited(f"not audited: {file}: not written by `audit --accept`: {error}") from error
    return found


def accept(path: Path, findings: Sequence[Finding], reason: str, roots: Sequence[Path]) -> Path:
    """Note, durably, that a person has looked at these findings, and return where. Raises OSError."""
    now_ms = time.time_ns() // 1_000_000
    folder = path / FOLDER
    make_directory(folder)
    note = Acceptance(at_ms=now_ms, by=who(), reason=reason, findings=[_moved(each, roots) for each in findings])
    file = folder / f"{now_ms}-{secrets.token_hex(4)}.json"
    write_durably(file, msgspec.json.format(msgspec.json.encode(note)) + b"\n")
    sync_directory(path)
    return file


def _same(finding: Finding) -> bytes:
    """Return what tells a finding from others: all but its text."""
    return msgspec.json.encode(msgspec.structs.replace(finding, text=""))


def _moved(finding: Finding, roots: Sequence[Path]) -> Finding:
    """Return a finding whose file is named as it is within its directory."""
    for root in roots if finding.file else ():
        if Path(finding.file or "").is_relative_to(root):
            return msgspec.structs.replace(finding, file=str(Path(finding.file or "").relative_to(root)))
    return finding


def who() -> str:
    """Return the user and the host of this process."""
    user = os.environ.get("SUDO_USER") or _user()
    return f"{user}@{os.uname().nodename}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
