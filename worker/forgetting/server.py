"""Entries of the streams, and dead letters, that hold an address. Reads only: an entry cannot be changed.

Entries go with retention, dead letters by `dead drop`. What was not read yet, or is pending, will become rows.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from schemas.events import TYPES
from worker.decode import RawEntry, payload_of
from worker.erasure.matching import erased
from worker.forgetting.target import Target
from worker.forgotten import Standing, State
from worker.records import id_order
from worker.replay.span import milliseconds_of
from worker.stream.dead_letters import dead_letters
from worker.stream.keys import Keys
from worker.stream.link import Connector
from worker.stream.ranges import ranges

_ADDRESSES = {"rcpt", "orig"}
_NAMED = 3
_DAY_MS = 86_400_000
_LATEST_MS = 253_370_764_800_000  # before the year 9999


def standing(target: Target, connect: Connector, partition: str, retention_days: int) -> Iterator[Standing]:
    """Yield where the address stands on the server. Raises StreamUnavailable."""
    keys = Keys.of(partition)
    with ranges(connect, partition) as streams:
        for event_type in TYPES:
            pending, delivered = streams.pending(event_type), streams.delivered(event_type)
            last = streams.last(event_type)
            pages = streams.entries(event_type, end=last.id) if last else ()
            found = [entry[0] for page in pages for entry in page if _holds(target, entry)]
            to_come = sum(each in pending or id_order(each.decode()) > id_order(delivered) for each in found)
            if found:
                text = _text(found[-1].decode(), retention_days, to_come)
                where = keys.streams[event_type]
                yield Standing(kind="stream", where=where, count=len(found), state=State.LEFT, text=text)
    with dead_letters(connect, partition) as dead:
        letters = [each.id for each in dead.letters(dead.last_id()) if _stands_in(target, each.payload)]
    if letters:
        more = " …" if len(letters) > _NAMED else ""
        text = f"`haraka-accounting dead drop {' '.join(letters[:_NAMED])}{more}` removes them"
        yield Standing(
            kind="dead letters", where=keys.dead, count=len(letters), state=State.LEFT, text=text, ids=letters
        )


def _text(last_id: str, retention_days: int, to_come: int) -> str:
    until = "stay: [redis] stream_retention_days is 0"
    if retention_days:
        last = datetime.fromtimestamp(min(milliseconds_of(last_id) + retention_days * _DAY_MS, _LATEST_MS) / 1000, UTC)
        until = f"go with retention, the last about {last:%Y-%m-%d}"
    rows = f"; {to_come} of them become rows yet: forget it again once these are sealed" if to_come else ""
    return f"entries cannot be changed, they {until}{rows}"


def _holds(target: Target, entry: RawEntry) -> bool:
    return _stands_in(target, payload_of(entry[1] or ()))


def _stands_in(target: Target, payload: bytes) -> bool:
    """Tell whether the address stands in some text of a JSON value, or in what is none."""
    if not target.may_stand_in(payload):
        return False
    try:
        return _is_in(target, msgspec.json.decode(payload), "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = payload.decode("utf-8", "replace")
        return erased(text, target.is_wanted) != text


def _is_in(target: Target, value: object, name: str) -> bool:
    match value:
        case str():
            return erased(value, target.is_wanted, is_address=name in _ADDRESSES) != value
        case list():
            return any(_is_in(target, each, name) for each in value)
        case dict():
            return any(_is_in(target, each, str(key)) for key, each in value.items())
        case _:
            return False
