"""Retention of the streams: trimmed by age and by memory, never what some group has not acknowledged (section 7).

Nobody trims with MAXLEN: that drops what was not read. What is old is told by passed time, not by the server's clock,
which may have been set. The server's hash `…:watch` keeps the line of that time (`time`), which ids were the newest
when (`ids`), and what the trimming has done: `<type>:trimmed_below` (everything below this id was trimmed here) and
`blocked` (who holds up what is due). Notes on dead letters that were retried or dropped go with the entries that they
are on.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas.events import TYPES
from worker.elapsed import MACHINE, Clocks
from worker.stream import id_ages, time_line
from worker.stream.clock import newest_ids
from worker.stream.id_ages import IdAges
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
    leap_ms: int = 0  # by which the server's clock was set since the last look


class _State(NamedTuple):
    """What one look at the time has given: what is to be kept, and below which id each type is old enough."""

    time: bytes
    ids: bytes
    cutoffs: Mapping[str, str]
    leap_ms: int


_IDS = "ids"

_ids = msgspec.json.Decoder(dict[str, IdAges])
_blocked = msgspec.json.Decoder(tuple[Blocked, ...], strict=False)  # Lua's JSON would round large numbers


def trim(connect: Connector, partition: str, limits: Limits, clocks: Clocks = MACHINE) -> Trimmed:
    """Trim what is due; several workers may do it at once. Raises StreamUnavailable.

    Between two of the short scripts everybody else has their turn.
    """
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        link.call("SCRIPT", "LOAD", _trim.source)
        state = _look(link, keys, limits.days * _DAY_MS, clocks)
        entries = 0
        for _ in range(_CALLS):
            count, blocked = _trim_once(link, keys, limits, state)
            entries += count
            if not count:
                break
        return Trimmed(entries, read_blocked(blocked), state.leap_ms)
    finally:
        link.close()


def _look(link: Link, keys: Keys, retention_ms: int, clocks: Clocks) -> _State:
    """Look at the time, and note which ids are the newest now."""
    known = _known_ids(link, keys)
    last_noted_ms = max((each.notes[-1].passed_ms for each in known.values() if each.notes), default=None)
    look = time_line.look_now(link, keys, clocks, last_noted_ms)
    now_ms, believed = look.now.now_ms, look.now.is_right
    ages = {
        event_type: id_ages.noted(
            known.get(event_type, id_ages.NOTHING), newest, now_ms, retention_ms, believed=believed
        )
        for event_type, newest in newest_ids(link, keys).items()
    }
    cutoffs = {name: id_ages.first_younger(each, now_ms, retention_ms) for name, each in ages.items() if retention_ms}
    ids = b"" if ages == known else msgspec.json.encode(ages)
    return _State(msgspec.json.encode(look.now), ids, cutoffs, look.leap_ms)


def _known_ids(link: Link, keys: Keys) -> dict[str, IdAges]:
    """Return the notes of earlier looks; none where somebody else wrote there."""
    try:
        return _ids.decode(link.call("HGET", keys.watch, _IDS) or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _trim_once(link: Link, keys: Keys, limits: Limits, state: _State) -> tuple[int, bytes]:
    by_type = [each for name in TYPES for each in (name, state.cutoffs.get(name, "0-0"))]
    count, blocked = link.call(
        "EVALSHA", _trim.sha, 3 + len(TYPES), keys.ledger, keys.watch, keys.settled, *keys.streams.values(),
        GROUP, limits.bytes, _ENTRIES, time_line.FIELD, state.time, _IDS, state.ids, *by_type,
    )  # fmt: skip
    return count, blocked


def read_blocked(stored: bytes | None) -> tuple[Blocked, ...]:
    """Read what the last trimming left in `…:watch`; nothing where somebody else wrote there."""
    try:
        return _blocked.decode((stored or b"[]").decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return ()
