"""What a registration shows, and what the server answers to it (design sections 4, 6 and 7)."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from worker import records
from worker.errors import AccountingError, DirectoryAtWork, DirectoryRefused, NameTaken, ServerRefused
from worker.identity import Token
from worker.records import Record

_WHAT_NOW = (
    "Nothing here was touched. Where this is the one to go on: haraka-accounting directory adopt; "
    "where both are to be used: haraka-accounting directory new"
)
_SHOWN = 200  # characters of what somebody else wrote


class Claim(NamedTuple):
    """What a directory shows of itself when one of its consumers registers (design section 6)."""

    current: Token
    next: Token
    held: Collection[str] = ()  # consumers that are known to work there
    gone: Collection[str] = ()  # consumers whose processes are known to be gone, though their leases live
    path: str = ""


class Registration(NamedTuple):
    """What `register` gave: the fencing token, and what was committed for this consumer and directory."""

    epoch: bytes
    record: Record | None
    history: bytes
    is_open: bool  # entries may be read
    compares: bool  # the server forgot lately: commits are compared with what was written


class Arrival(NamedTuple):
    """What `arrive` answers."""

    is_open: bool
    twice: Sequence[str]  # types and keys of entries that another directory has written since


class ClaimedBefore(AccountingError):
    """The next token of the directory has been claimed already: another one has to be drawn."""


def require_accepted(reply: Sequence[Any], consumer: str, directory: str, claim: Claim) -> None:
    """Raise what an answer other than OK calls for.

    NameTaken, DirectoryRefused, DirectoryAtWork or ClaimedBefore.
    """
    match reply[0]:
        case b"REFUSED":
            holder = reply[1].decode("utf-8", "replace")
            raise NameTaken(f"consumer {consumer} now works in directory {holder}, this one is {directory}")
        case b"SUPERSEDED":
            raise DirectoryRefused(_superseded(directory, claim.path, reply[1:]))
        case b"ALIVE":
            raise DirectoryAtWork(reply[1].decode("utf-8", "replace"), reply[2].decode("utf-8", "replace"))
        case b"RETRY":
            raise ClaimedBefore


def read(reply: Sequence[Any], what: str) -> Registration:
    """Read an answer that is OK. Raises ServerRefused, which names `what` cannot be read."""
    _, epoch, stored, history, is_open, compares = reply
    try:
        return Registration(epoch, records.decode(stored), history, bool(is_open), bool(compares))
    except msgspec.MsgspecError as error:
        raise ServerRefused(f"{what} cannot be read: {error}") from error


def _instant(at_ms: str) -> str:
    """Return when that was, as it stands there where no calendar has it."""
    try:
        return datetime.fromtimestamp(int(at_ms) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms[:_SHOWN]} ms"


def _superseded(directory: str, path: str, claimed: Sequence[bytes]) -> str:
    """Say that another copy of a directory was started since."""
    token, at_ms, host, place = (each.decode("utf-8", "replace") for each in claimed)
    at = _instant(at_ms)
    return (
        f"{path}: the directory {directory} was started at {host}:{place} on {at} "
        f"(token {token[:_SHOWN]}); this is a copy of it, or the original of which that is one. {_WHAT_NOW}"
    )
