"""Entries as lines of NDJSON: what an export writes, and a replay reads back. Pure.

    {"id":"1795373309671-0","type":"bounce","events":[…]}

`events` holds the entry's bytes as they are in the stream. Where these are no line of JSON, `base64` holds them, so
that what could not become rows then can be looked at, and nothing of a range is left out.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.events import TYPES
from worker.decode import RawEntry, payload_of
from worker.records import id_order
from worker.replay.span import is_id

_EXAMPLE = '{"id":"1795373309671-0","type":"bounce","events":[…]}'


class Line(Struct):
    """A line, taken apart."""

    id: str
    type: Literal[TYPES]  # type: ignore[valid-type]
    events: Raw | UnsetType = UNSET
    base64: str | UnsetType = UNSET


_decoder = msgspec.json.Decoder(Line)


def line_of(event_type: str, entry: RawEntry) -> bytes:
    """Return the line of an entry, with its end."""
    entry_id, fields = entry
    payload = payload_of(fields or ())
    line = b'{"id":"%s","type":"%s","events":%s}' % (entry_id, event_type.encode(), payload)
    if b"\n" in line or b"\r" in line or not _says(line, payload):
        line = b'{"id":"%s","type":"%s","base64":"%s"}' % (entry_id, event_type.encode(), b64encode(payload))
    return line + b"\n"


def _says(line: bytes, payload: bytes) -> bool:
    """Tell whether a line gives these bytes back when it is read."""
    try:
        line.decode()
        found = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(found.events, Raw) and bytes(found.events) == payload and found.base64 is UNSET


def parse(line: bytes) -> tuple[str, RawEntry]:
    """Return type and entry of a line. Raises ValueError that says what was expected."""
    try:
        found = _decoder.decode(line)
        payload = _payload(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ValueError(f"{error}: expected {_EXAMPLE}") from error
    if not is_id(found.id):
        raise ValueError(f"id is {found.id[:50]!r}: expected {_EXAMPLE}")
    return found.type, (found.id.encode("ascii"), (b"events", payload))


def _payload(line: Line) -> bytes:
    if isinstance(line.events, Raw) and line.base64 is UNSET:
        return bytes(line.events)
    if isinstance(line.base64, str) and line.events is UNSET:
        return b64decode(line.base64, validate=True)
    raise ValueError("one of events and base64 is needed")


class Order:
    """Checks that the ids of each type only grow: an overlap of two exports would write its rows twice."""

    def __init__(self) -> None:
        self._last: dict[str, Sequence[int]] = {}

    def check(self, event_type: str, entry_id: str) -> None:
        """Raise ValueError where an id is not behind the last one of its type."""
        order = id_order(entry_id)
        last = self._last.get(event_type)
        if last is not None and order <= tuple(last):
            before = "-".join(map(str, last))
            raise ValueError(f"{event_type} {entry_id} comes after {before}: expected exports in order, no overlap")
        self._last[event_type] = order
