"""The catalogue of accounting fields: every column that an accounting file can have.

A column is one of `FIELDS`, or `custom_<header>` for a message header. The names are those of the old plugin and of
PowerMTA. Where a value comes from is told twice: for people (`source`), and for the row function (`origin`,
`attribute`, `kind`), so that documentation and rows cannot drift apart.
"""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from schemas.events import TAGS, TYPES

CUSTOM_PREFIX = "custom_"


class Origin(Enum):
    """What a field is an attribute of."""

    EVENT = "event"
    RECIPIENT = "recipient"
    ENTRY = "entry"
    TYPE = "type"


class Kind(Enum):
    """How a value is written: which characters it may hold, and what makes it text."""

    TEXT = "text"  # hostile: remote servers and headers wrote it
    INSTANT = "instant"  # ms since the epoch, written yyyy-mm-dd HH:MM:ss in the configured time zone
    NUMBER = "number"
    BOOLEAN = "boolean"  # true or false
    CONSTANT = "constant"  # the same for every row of the type
    STREAM_ID = "stream_id"
    QUEUED_SECONDS = "queued_seconds"  # timeLogged - timeQueued
    SOURCE_TYPE = "source_type"  # smtp where a connection brought the message in


class Field(Struct, frozen=True):
    """One accounting field.

    `attributes` maps each type that has the field to the attribute's name in the event (or recipient) struct;
    other types write `-`.
    """

    name: str
    meaning: str
    source: str
    origin: Mapping[str, Origin]
    attribute: str
    kind: Kind = Kind.TEXT

    @property
    def types(self) -> tuple[str, ...]:
        """Return the types whose rows can have a value in this field."""
        return tuple(name for name in TYPES if name in self.origin)


def _everywhere(origin: Origin) -> dict[str, Origin]:
    return dict.fromkeys(TYPES, origin)


_EVENT = _everywhere(Origin.EVENT)
_DSN = {"delivered": Origin.EVENT, "deferred": Origin.RECIPIENT, "bounce": Origin.RECIPIENT}
_ONLY = {name: {name: Origin.EVENT} for name in TYPES}

FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field(
            "type",
            "Type of the row: `d` delivered, `df` deferred, `b` bounce.",
            "the hook",
            _everywhere(Origin.TYPE),
            "tag",
            Kind.CONSTANT,
        ),
        Field(
            "timeLogged",
            "When the hook was called, by the Haraka node's clock (`yyyy-mm-dd HH:MM:ss`).",
            "clock of the Haraka node",
            _EVENT,
            "time_logged",
            Kind.INSTANT,
        ),
        Field(
            "timeQueued",
            "When Haraka queued the message (`yyyy-mm-dd HH:MM:ss`); `-` where the node's clock was set back since.",
            "`todo.queue_time`",
            _EVENT,
            "time_queued",
            Kind.INSTANT,
        ),
        Field(
            "rcpt",
            "The recipient, as Haraka sends it in `RCPT TO`, without angle brackets.",
            "`ok_recips`; `fail_recips`; `bounced_rcpt`, else `deferred_rcpt`; else `todo.rcpt_to`",
            _everywhere(Origin.RECIPIENT),
            "rcpt",
        ),
        Field(
            "srcMta",
            "HELO/EHLO name of the host that the message came from; `-` for mail that Haraka or a plugin made.",
            "`connection.hello.host`, kept at `mail`",
            _EVENT,
            "src_mta",
        ),
        Field(
            "srcIp",
            "Local IP address used for the delivery.",
            "the outbound socket's own address, else `todo.notes.outbound_ip`, else `mx.bind`",
            _EVENT,
            "src_ip",
        ),
        Field(
            "destIp", "IP address of the destination.", "`ip` of the delivery; `mx` of the failure", _EVENT, "dest_ip"
        ),
        Field("vmta", "Name of the virtual MTA.", "`todo.notes.vmta`, else `server.notes.vmta`", _EVENT, "vmta"),
        Field(
            "jobId",
            "Haraka's id of the queued message. One id covers several recipients and attempts.",
            "`todo.uuid`",
            _EVENT,
            "job_id",
        ),
        Field(
            "dsnStatus",
            "Enhanced status code (RFC 3463). Haraka does not hand over the code of a success: `2.0.0`.",
            "`dsn_status` of the recipient, else the code in the reply's text; its class made that of the type",
            _DSN,
            "dsn_status",
        ),
        Field(
            "dsnMsg",
            "What the destination (or Haraka) said, without its reply code where Haraka cut it off; within `Too many failures (…)` where the retries are used up.",
            "`response`; `rcpt.reason`, else dsn_smtp_*, else dsn_*, else the error",
            _DSN,
            "dsn_msg",
        ),
        Field(
            "delay",
            "Seconds until the next attempt.",
            "`delay` of the deferral",
            _ONLY["deferred"],
            "delay",
            Kind.NUMBER,
        ),
        Field(
            "bounceCat",
            "Why it bounced, in the words of the ISP or of Haraka's own checks.",
            "as `dsnMsg`",
            {"bounce": Origin.RECIPIENT},
            "bounce_cat",
        ),
        Field(
            "orig", "Envelope sender, as Haraka sends it; `-` for the null sender.", "`todo.mail_from`", _EVENT, "orig"
        ),
        Field("queue", "Domain of the recipients, the name of Haraka's queue.", "`todo.domain`", _EVENT, "queue"),
        Field(
            "dsnAction",
            "DSN action (RFC 3464): `relayed` or `delivered`, `delayed`, `failed`.",
            "the hook",
            _DSN,
            "dsn_action",
        ),
        Field(
            "dsnMta",
            "Host name of the destination's mail server.",
            "`host` of the delivery; `mx` of the failure, or the only host that was tried",
            _EVENT,
            "dsn_mta",
        ),
        Field("dlvType", "Protocol of the delivery: `smtp` or `lmtp`.", "`mode`", _EVENT, "dlv_type"),
        Field(
            "dlvDestinationPort",
            "Port of the destination; `-` for a Unix socket.",
            "`port` of the delivery; `mx.port` of the failure",
            _EVENT,
            "dlv_destination_port",
            Kind.NUMBER,
        ),
        Field(
            "attempts",
            "Attempts so far, this one counted. Starts again when Haraka splits a message.",
            "`hmail.num_failures`",
            _EVENT,
            "attempts",
            Kind.NUMBER,
        ),
        Field(
            "dlvTls",
            "`true` where the delivery was encrypted.",
            "`secured`",
            _ONLY["delivered"],
            "dlv_tls",
            Kind.BOOLEAN,
        ),
        Field(
            "dlvAuth",
            "`true` where Haraka authenticated itself.",
            "`authenticated`",
            _ONLY["delivered"],
            "dlv_auth",
            Kind.BOOLEAN,
        ),
        Field(
            "totalSecondsQueued",
            "Seconds from queueing to this event, with milliseconds.",
            "timeLogged - timeQueued",
            _EVENT,
            "time_queued",
            Kind.QUEUED_SECONDS,
        ),
        Field(
            "srcType",
            "`smtp` where a connection brought the message in; `-` for mail that Haraka or a plugin made.",
            "whether there is a srcMta",
            _EVENT,
            "src_mta",
            Kind.SOURCE_TYPE,
        ),
        Field("node", "Name of the Haraka node.", "`server.notes` / `me` of the node", _EVENT, "node"),
        Field(
            "eventId",
            "Id of the event: producer, number of its batch, index in the batch. One per call of a hook.",
            "the publisher",
            _EVENT,
            "event_id",
        ),
        Field(
            "streamId",
            "Id of the stream entry that carried the event.",
            "Redis",
            _everywhere(Origin.ENTRY),
            "stream_id",
            Kind.STREAM_ID,
        ),
    )
}

_COMMON = ("type", "timeLogged", "timeQueued", "rcpt", "srcMta", "srcIp", "vmta", "jobId", "dsnStatus", "dsnMsg")

#: The columns of a type where the ini names none: those of the old plugin.
DEFAULT_COLUMNS: dict[str, tuple[str, ...]] = {
    "delivered": _COMMON,
    "deferred": (*_COMMON, "delay"),
    "bounce": (*_COMMON, "bounceCat"),
}


def is_custom(column: str) -> bool:
    """Tell whether a column is a message header (`custom_<header>`)."""
    return column.startswith(CUSTOM_PREFIX) and len(column) > len(CUSTOM_PREFIX)


def header_of(column: str) -> str:
    """Return the header that a `custom_<header>` column shows, lower-cased: header names ignore case (RFC 5322)."""
    return column.removeprefix(CUSTOM_PREFIX).lower()


def markdown() -> str:
    """Return the field catalogue as the page docs/fields.md."""
    lines = [
        "# Accounting fields",
        "",
        "<!-- Made from schemas/catalogue.py by `make schemas`. -->",
        "",
        "The columns that `[fields]` of accounting_files.ini can name. A value that is missing is written `-`; one above 8192 bytes is cut, and ends in `… [cut]`. With `csv_guard`, one that begins like a formula has a `'` in front.",
        "",
        "| field | " + " | ".join(f"`{TAGS[name]}`" for name in TYPES) + " | meaning | comes from |",
        "| --- | " + " | ".join(":-:" for _ in TYPES) + " | --- | --- |",
    ]
    for field in FIELDS.values():
        marks = " | ".join("x" if name in field.types else "" for name in TYPES)
        lines.append(f"| `{field.name}` | {marks} | {field.meaning} | {field.source} |")
    marks = " | ".join("x" for _ in TYPES)
    lines += [
        f"| `custom_<header>` | {marks} | A message header, unfolded; the first where it stands several times. | the header `<header>`, else `custom_<header>`, as it was when the message was queued |",
        "",
        "Columns where `[fields]` names none:",
        "",
    ]
    lines += [f"- {name}: `{','.join(columns)}`" for name, columns in DEFAULT_COLUMNS.items()]
    return "\n".join(lines) + "\n"
