"""The event contract: what the Haraka plugin publishes and the worker decodes.

One event stands for one call of an outbound hook (`delivered`, `deferred` or `bounce`) and carries every recipient
of that call. A stream entry carries a JSON array of 1..n events of one type in its field `events` (design section 3).

Strict where it protects: tag, version, at least one recipient, addresses that are not empty, instants that can be
formatted, numbers in their range. Tolerant to fields added later: unknown fields are skipped. A field that does not
apply or is not known is left out; it never arrives as null or as an empty string.

Names are PowerMTA's accounting names in camelCase. Instants are milliseconds since the epoch, by the clock of the
Haraka node. Text is unclean: remote mail servers and headers wrote it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

VERSION = 1

Text = Annotated[str, Meta(min_length=1)]
Instant = Annotated[
    int, Meta(ge=0, lt=253_370_764_800_000, description="Milliseconds since the epoch, before the year 9999.")
]
Seconds = Annotated[float, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Attempts = Annotated[int, Meta(ge=0)]


class Recipient(Struct, frozen=True, rename="camel", gc=False):
    """A recipient that the destination accepted."""

    rcpt: Text


class FailedRecipient(Struct, frozen=True, rename="camel", gc=False):
    """A recipient that was deferred or bounced, with what the destination (or Haraka) said of it."""

    rcpt: Text
    dsn_status: Text | None = None
    dsn_action: Text | None = None
    dsn_msg: Text | None = None
    bounce_cat: Text | None = None


class Event(Struct, frozen=True, rename="camel", tag_field="type", kw_only=True):
    """What every event has, whatever its type."""

    v: Literal[1]
    event_id: Text
    time_logged: Instant
    time_queued: Instant | None = None
    node: Text | None = None
    job_id: Text | None = None
    orig: Text | None = None
    queue: Text | None = None
    src_mta: Text | None = None
    src_ip: Text | None = None
    vmta: Text | None = None
    dest_ip: Text | None = None
    dsn_mta: Text | None = None
    dlv_type: Text | None = None
    dlv_destination_port: Port | None = None
    attempts: Attempts | None = None
    custom: dict[str, str] = {}


class Delivered(Event, tag="d", frozen=True, kw_only=True):
    """The destination accepted the message for these recipients."""

    rcpts: Annotated[list[Recipient], Meta(min_length=1)]
    dsn_status: Text = "2.0.0"
    dsn_action: Text = "relayed"
    dsn_msg: Text | None = None
    dlv_tls: bool | None = None
    dlv_auth: bool | None = None


class Deferred(Event, tag="df", frozen=True, kw_only=True):
    """A temporary failure for these recipients; Haraka tries again after `delay` seconds."""

    rcpts: Annotated[list[FailedRecipient], Meta(min_length=1)]
    delay: Seconds | None = None


class Bounce(Event, tag="b", frozen=True, kw_only=True):
    """A final failure for these recipients."""

    rcpts: Annotated[list[FailedRecipient], Meta(min_length=1)]


#: Type of event by the last word of its stream's key; the order is that of every listing.
EVENT_TYPES: dict[str, type[Delivered | Deferred | Bounce]] = {
    "delivered": Delivered,
    "deferred": Deferred,
    "bounce": Bounce,
}
TYPES: tuple[str, ...] = tuple(EVENT_TYPES)

#: The short tag of a type, as it stands in events, rows and file names.
TAGS: dict[str, str] = {"delivered": "d", "deferred": "df", "bounce": "b"}

AnyEvent = Delivered | Deferred | Bounce


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of one entry's `events` field: an array of events."""
    schema = msgspec.json.schema(Annotated[list[AnyEvent], Meta(min_length=1)])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The `events` field of a stream entry of haraka-accounting",
        **schema,
    }
