"""Decoding: from the raw entries of one stream to events, dead letters and lost entries.

Pure. Events are decoded into a projection of their struct that holds only what the configured columns need: msgspec
skips the rest of the JSON without building it. Whatever else an event holds is neither looked at nor refused.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from schemas.catalogue import CUSTOM_PREFIX, FIELDS, Origin, header_of, is_custom
from schemas.events import EVENT_TYPES, TAGS
from worker.event_keys import by_itself, by_stream_id, ids_of
from worker.numbers import events_in
from worker.rows import custom_attribute, is_suspect

#: An entry as Redis hands it over: id, and its fields and values in turn (None: deleted, but still pending).
RawEntry = tuple[bytes, Sequence[bytes] | None]

_NEEDED = ("v", "time_logged", "rcpts")
_FIRST_FIELD_NAME = b"events"  # of what the plugin publishes; dead letters that were put back have another one
_FIRST_FIELD = {_FIRST_FIELD_NAME}
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

#: What one entry, or some entries that are decoded together, may cost the server and the worker (docs/limits.md).
LETTERS_OF_AN_ENTRY = 100
LETTERS_AT_ONCE = 300  # beyond them, entries have one each
LONGEST_ERROR = 200  # characters


class DeadLetter(NamedTuple):
    """What could not become rows: an event of an entry, all from one on, or (position -1) a whole entry."""

    event_type: str
    entry_id: bytes
    position: int
    payload: bytes
    error: str
    n: int = 1  # events: from that position on, or of a whole entry as many as were published in it


class Decoded(NamedTuple):
    """The entries of one stream, taken apart."""

    ids: Sequence[bytes]  # of the entries that hold events
    events: Sequence[Sequence[Any]]  # parallel to ids
    suspect: bool  # some text may hold a control character or a quote
    size: int  # bytes of JSON
    dead: Sequence[DeadLetter]
    lost: Sequence[bytes]  # ids of entries that somebody deleted before they were read
    event_ids: str  # of the first event of each entry, separated by blanks (`worker.event_keys`)


def _projected_recipient(event_type: str, columns: Iterable[str]) -> type[Struct]:
    full = EVENT_TYPES[event_type].__annotations__["rcpts"].__origin__.__args__[0]
    wanted = {"rcpt"} | {
        FIELDS[column].attribute
        for column in columns
        if not is_custom(column) and FIELDS[column].origin.get(event_type) is Origin.RECIPIENT
    }
    fields = [field for field in msgspec.structs.fields(full) if field.name in wanted]
    return msgspec.defstruct("Recipient", [_definition(field) for field in fields], rename="camel", gc=False)


def _projected_custom(columns: Iterable[str]) -> type[Struct]:
    headers = {custom_attribute(column): header_of(column) for column in columns if is_custom(column)}
    return msgspec.defstruct("Custom", [(name, str, "") for name in headers], rename=headers, gc=False)


def _definition(field: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.default is msgspec.NODEFAULT:
        return (field.name, field.type)
    return (field.name, field.type, field.default)


def projection(event_type: str, columns: Iterable[str]) -> type[Struct]:
    """Return a struct of the event's type that has the fields which the columns need, and those always checked."""
    columns = tuple(columns)
    wanted = set(_NEEDED) | {
        FIELDS[column].attribute
        for column in columns
        if not is_custom(column) and FIELDS[column].origin.get(event_type) is Origin.EVENT
    }
    recipient = _projected_recipient(event_type, columns)
    recipients = Annotated[list[recipient], Meta(min_length=1)]  # type: ignore[valid-type]
    definitions: list[Any] = [("type", Literal[TAGS[event_type]])]  # a tag_field may be absent, a field may not
    for field in msgspec.structs.fields(EVENT_TYPES[event_type]):
        if field.name == "rcpts":
            definitions.append(("rcpts", recipients))
        elif field.name in wanted:
            definitions.append(_definition(field))
        elif field.name == "event_id":  # what the entry is known by; one without is no worse
            definitions.append(("event_id", Any, ""))
    if any(column.startswith(CUSTOM_PREFIX) for column in columns):
        custom = _projected_custom(columns)
        definitions.append(("custom", custom, msgspec.field(default_factory=custom)))
    return msgspec.defstruct(EVENT_TYPES[event_type].__name__, definitions, rename="camel", kw_only=True, gc=False)


class Decoder:
    """Decodes the entries of one type."""

    def __init__(self, event_type: str, columns: Iterable[str]) -> None:
        self._type = event_type
        event = projection(event_type, columns)
        self._array = msgspec.json.Decoder(Annotated[list[event], Meta(min_length=1)])  # type: ignore[valid-type]
        self._event = msgspec.json.Decoder(event)
        self._raw = msgspec.json.Decoder(Annotated[list[msgspec.Raw], Meta(min_length=1)])

    def decode(self, entries: Sequence[RawEntry]) -> Decoded:
        """Take entries apart. Nothing in an entry can raise: what is bad becomes a dead letter."""
        try:
            payloads = [fields[1] for _, fields in entries]  # type: ignore[index]
            names = {fields[0] for _, fields in entries}  # type: ignore[index]
            if names == _FIRST_FIELD:
                joined = b"".join(payloads)
                decode = self._array.decode
                events = [decode(payload) for payload in payloads]
                ids = [entry_id for entry_id, _ in entries]
                return Decoded(ids, events, is_suspect(joined), len(joined), (), (), ids_of(ids, events))
        except (*_DECODE_ERRORS, TypeError, IndexError):
            pass
        return self._decode_one_by_one(entries)

    def _decode_one_by_one(self, entries: Sequence[RawEntry]) -> Decoded:
        """Do the same where something is not as it should be: find out what, and keep the rest."""
        ids: list[bytes] = []
        good: list[list[Any]] = []
        dead: list[DeadLetter] = []
        event_ids: list[str] = []
        there = [(entry_id, fields) for entry_id, fields in entries if fields is not None]
        for entry_id, fields in there:
            most = LETTERS_OF_AN_ENTRY if len(dead) < LETTERS_AT_ONCE else 0
            events, letters = self._decode_entry(entry_id, fields, most)
            dead += letters
            if events:
                ids.append(entry_id)
                good.append(events)
                is_published = fields[0] == _FIRST_FIELD_NAME
                event_ids.append(by_itself(entry_id, events[0].event_id) if is_published else by_stream_id(entry_id))
        joined = b"".join([payload_of(fields) for _, fields in there])
        lost = [entry_id for entry_id, fields in entries if fields is None]
        return Decoded(ids, good, is_suspect(joined), len(joined), dead, lost, " ".join(event_ids))

    def _decode_entry(self, entry_id: bytes, fields: Sequence[bytes], most: int) -> tuple[list[Any], list[DeadLetter]]:
        """Return the good events of an entry, and a dead letter for each bad one (or for the whole entry).

        After so many letters at `most`, the rest of the entry is one letter, good or bad, from its first bad event on.
        """
        payload = payload_of(fields)
        try:
            raw = self._raw.decode(payload)
        except _DECODE_ERRORS as error:
            return [], [DeadLetter(self._type, entry_id, -1, payload, _told(error), events_in(fields))]
        events: list[Any] = []
        dead: list[DeadLetter] = []
        for index, item in enumerate(raw):
            try:
                events.append(self._event.decode(item))
            except _DECODE_ERRORS as error:
                if len(dead) >= most:
                    rest = b",".join(raw[index:])
                    return events, [*dead, self._letter(entry_id, index, rest, error, len(raw) - index)]
                dead.append(self._letter(entry_id, index, bytes(item), error, 1))
        return events, dead

    def _letter(self, entry_id: bytes, index: int, payload: bytes, error: Exception, n: int) -> DeadLetter:
        return DeadLetter(self._type, entry_id, index, payload, _told(error), n)


def _told(error: Exception) -> str:
    """Return what is wrong, in so many words at most: an error can repeat what somebody wrote."""
    text = str(error)[:LONGEST_ERROR] or type(error).__name__
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def payload_of(fields: Sequence[bytes]) -> bytes:
    """Return the value of an entry's field `events`; empty where it has none, which no decoder accepts."""
    for name, value in zip(fields[::2], fields[1::2], strict=False):
        if name == b"events":
            return value
    return b""
