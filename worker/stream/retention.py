"""Retention of the streams: trimmed by age and by memory, never what some group has not acknowledged (section 7).

Nobody trims with MAXLEN: that drops what was not read. The server's hash `…:watch` keeps what the trimming has done:
`<type>:trimmed_below` (everything below this id was trimmed here) and `blocked` (who holds up what is due). Notes
on dead letters that were retried or dropped go with the entries that they are on.
"""

import msgspec
from msgspec import Struct

from schemas.events import TYPES
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.script import Script

_ENTRIES = 10_000  # of a stream, by one call: less than a millisecond or two of the server's time
_CALLS = 1_000  # of the script at most: the rest waits for the next time
_DAY_MS = 86_400_000

_trim = Script("trim")


class Limits(Struct, frozen=True, kw_only=True):
    """What the streams of a partition may keep; 0 switches a limit off."""

    days: int
    bytes: int  # of the three streams together


class Blocked(Struct, frozen=True, kw_only=True):
    """A consumer group that holds up trimming that is due."""

    type: str
    group: str
    why: str  # age or memory
    since: str  # id of the first entry held back
    events: int  # held back


class Trimmed(Struct, frozen=True):
    """What came of a trimming."""

    entries: int
    blocked: tuple[Blocked, ...]


_blocked = msgspec.json.Decoder(tuple[Blocked, ...], strict=False)  # Lua's JSON would round large numbers


def trim(connect: Connector, partition: str, limits: Limits) -> Trimmed:
    """Trim what is due; several workers may do it at once. Raises StreamUnavailable.

    Between two of the short scripts everybody else has their turn.
    """
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        link.call("SCRIPT", "LOAD", _trim.source)
        entries = 0
        for _ in range(_CALLS):
            count, blocked = _trim_once(link, keys, limits)
            entries += count
            if not count:
                break
        return Trimmed(entries, read_blocked(blocked))
    finally:
        link.close()


def _trim_once(link: Link, keys: Keys, limits: Limits) -> tuple[int, bytes]:
    count, blocked = link.call(
        "EVALSHA", _trim.sha, 3 + len(TYPES), keys.ledger, keys.watch, keys.settled, *keys.streams.values(),
        GROUP, limits.days * _DAY_MS, limits.bytes, _ENTRIES, *TYPES,
    )  # fmt: skip
    return count, blocked


def read_blocked(stored: bytes | None) -> tuple[Blocked, ...]:
    """Read what the last trimming left in `…:watch`; nothing where somebody else wrote there."""
    try:
        return _blocked.decode((stored or b"[]").decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return ()
