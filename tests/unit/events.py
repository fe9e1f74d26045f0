"""Events, entries and row settings for the tests of the pure modules, and what a reader should find in a file.

`values` is the oracle: it says for each column what stands in a row, from the JSON of the event alone and without any
code of the worker.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cache
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

from schemas.catalogue import FIELDS
from schemas.events import TAGS, TYPES
from worker.decode import Decoder, RawEntry
from worker.rows import Rows
from worker.settings import Format, RowSettings

Event = dict[str, Any]

CUSTOM = "custom_X-Campaign"
ALL_COLUMNS = (*FIELDS, CUSTOM)
NOON_MS = 1_790_596_800_000  # 2026-09-28 12:00:00 UTC

_RECIPIENT_TEXTS = ("dsnStatus", "dsnAction", "dsnMsg", "bounceCat")
_COMMON_TEXTS = ("node", "jobId", "orig", "queue", "srcMta", "srcIp", "vmta", "destIp", "dsnMta", "dlvType")
_DEFAULTS = {"dsnStatus": "2.0.0", "dsnAction": "relayed"}
_ONLY_OF = {"delay": "deferred", "bounceCat": "bounce", "dlvTls": "delivered", "dlvAuth": "delivered"}

#: Texts that try to end a row, to forge one, to open a quote, or to pass for a missing value.
HOSTILE = (
    "\r\nd\t2026-01-01 00:00:00\tforged@example.com\n",
    'a"b',
    '"',
    '""',
    '",',
    '";\n',
    "a,b;c\td|e",
    "-",
    " ",
    "\x00",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\x9b31m",
    "\u2028",
    "\u2029x",
    "\\",
    "\\n",
    "\\u000a",
    "\\\n",
    "\ufeff",
    "\u202e",
    "\U0001f4e7",
    "=1+1",
    "'",
    "{e}",
    "{{",
)
_ALPHABET = st.one_of(
    st.sampled_from("\x00\t\n\v\f\r\x1c\x1d\x1e\x1f\x7f\x80\x85\x9f\u2028\u2029\",;|'\\-{} a\xa0é€\U0001f4e7"),
    st.characters(exclude_categories=["Cs"]),
)
hostile_texts = st.one_of(st.sampled_from(HOSTILE), st.text(_ALPHABET, min_size=1, max_size=20))
harmless_texts = st.text(
    st.one_of(st.sampled_from(",;|-é€{}\xa0"), st.characters(exclude_categories=["C", "Zl", "Zp"])).filter(
        lambda character: character not in '"\\'
    ),
    min_size=1,
    max_size=20,
)


def event(event_type: str, **changes: Any) -> Event:
    """Return the smallest event of a type, changed."""
    return {
        "type": TAGS[event_type],
        "v": 1,
        "eventId": "mx1-0:1:0",
        "timeLogged": NOON_MS,
        "rcpts": [{"rcpt": "a@example.com"}],
        **changes,
    }


class Batch(NamedTuple):
    """Generated events by type, and how their JSON is written."""

    events: Mapping[str, Sequence[Event]]
    ascii_only: bool

    def entries(self, event_type: str) -> list[RawEntry]:
        """Return the entries that carry the events of a type, a few each."""
        events = self.events[event_type]
        return [
            (f"{NOON_MS}-{start}".encode(), payload(*events[start : start + 3], ascii_only=self.ascii_only))
            for start in range(0, len(events), 3)
        ]

    def cells(self, event_type: str, columns: Sequence[str], missing: str = "-") -> list[list[str]]:
        """Return the cells of each row that the entries of a type should become."""
        rows = (
            values(event_type, one, recipient, f"{NOON_MS}-{index - index % 3}")
            for index, one in enumerate(self.events[event_type])
            for recipient in one["rcpts"]
        )
        return [[row.get(column, missing) for column in columns] for row in rows]


def payload(*events: Any, ascii_only: bool = False) -> list[bytes]:
    """Return the fields of an entry that carries these events."""
    text = json.dumps(events, ensure_ascii=ascii_only)
    return [b"events", text.encode(), b"n", str(len(events)).encode(), b"at", b"1"]


@st.composite
def batches(draw: st.DrawFn, texts: st.SearchStrategy[str] = hostile_texts, size: int = 5) -> Batch:
    """Draw a batch: the texts by Hypothesis, which event gets which of them by a seeded generator."""
    pool = draw(st.lists(texts, min_size=1, max_size=30))
    random = Random(draw(st.integers(0, 2**32)))
    events = {event_type: [_random_event(event_type, pool, random) for _ in range(size)] for event_type in TYPES}
    return Batch(events, draw(st.booleans()))


def _random_event(event_type: str, pool: Sequence[str], random: Random) -> Event:
    made = event(
        event_type,
        timeLogged=random.randrange(253_370_764_800_000),
        rcpts=[_random_recipient(event_type, pool, random) for _ in range(random.choice((1, 1, 1, 2, 5)))],
        eventId=random.choice(pool),
    )
    texts = (*_COMMON_TEXTS, *(_RECIPIENT_TEXTS[:3] if event_type == "delivered" else ()))
    optional: Event = {name: random.choice(pool) for name in texts} | {
        "timeQueued": random.randrange(253_370_764_800_000),
        "dlvDestinationPort": random.randrange(65536),
        "attempts": random.randrange(100),
        "custom": {name: random.choice(pool) for name in ("x-campaign", "x-other") if random.random() < 0.7},
        "later": {"added": [random.choice(pool)]},
        "delay": random.choice((0, 300, 0.5, 86400.25)),
        "dlvTls": random.random() < 0.5,
        "dlvAuth": random.random() < 0.5,
    }
    made |= {name: value for name, value in optional.items() if random.random() < 0.8}
    return {name: value for name, value in made.items() if _ONLY_OF.get(name, event_type) == event_type}


def _random_recipient(event_type: str, pool: Sequence[str], random: Random) -> Event:
    names = () if event_type == "delivered" else _RECIPIENT_TEXTS
    return {"rcpt": random.choice(pool)} | {name: random.choice(pool) for name in names if random.random() < 0.8}


def values(event_type: str, one: Event, recipient: Event, entry_id: str) -> dict[str, str]:
    """Return what a recipient's row shows by column, in UTC and before any quoting; nothing where it is missing."""
    found = _made(one, entry_id) | _given(event_type, one, recipient)
    return {name: cleaned(text) for name, text in found.items() if _ONLY_OF.get(name, event_type) == event_type}


@cache
def cleaned(text: str) -> str:
    """Return a text as the documentation promises it: each control character and line separator is one space."""
    return "".join(" " if unicodedata.category(char) in {"Cc", "Zl", "Zp"} else char for char in text)


def _given(event_type: str, one: Event, recipient: Event) -> dict[str, str]:
    """Return the values that stand in the event as they are; what a recipient has, it has for itself."""
    if event_type == "delivered":
        found = {**_DEFAULTS, **one, "rcpt": recipient["rcpt"]}
    else:
        found = {name: value for name, value in one.items() if name not in _RECIPIENT_TEXTS} | recipient
    found |= {CUSTOM: one["custom"]["x-campaign"]} if "x-campaign" in one.get("custom", {}) else {}
    flags = {name: str(found[name]).lower() for name in ("dlvTls", "dlvAuth") if name in found}
    return {name: str(value) for name, value in found.items() if not name.startswith("time")} | flags


def _made(one: Event, entry_id: str) -> dict[str, str]:
    """Return the values that are made of others."""
    logged, queued = one["timeLogged"], one.get("timeQueued")
    found = {"streamId": entry_id, "timeLogged": written(logged)}
    if queued is not None:
        found |= {"timeQueued": written(queued), "totalSecondsQueued": f"{(logged - queued) / 1000:.3f}"}
    if "srcMta" in one:
        found["srcType"] = "smtp"
    return found


def written(ms: int) -> str:
    """Return an instant as it stands in a file, in UTC."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def row_settings(
    columns: Sequence[str] = ALL_COLUMNS, *, layout: Format = Format.TSV, separator: str = "\t",
    timezone: tzinfo = UTC, guarded: bool = False,
) -> RowSettings:  # fmt: skip
    """Return settings with the same columns for each type."""
    by_type = dict.fromkeys(TYPES, tuple(columns))
    return RowSettings(format=layout, separator=separator, timezone=timezone, columns=by_type, guarded=guarded)


def render(event_type: str, settings: RowSettings, entries: Sequence[RawEntry]) -> bytes:
    """Return the rows of entries, none of which is bad, as a worker that starts now writes them."""
    decoded = Decoder(event_type, settings.columns[event_type]).decode(entries)
    assert not decoded.dead
    rows, count = Rows(event_type, settings).render(decoded.ids, decoded.events, suspect=decoded.suspect)
    assert count == sum(len(one.rcpts) for events in decoded.events for one in events)
    return rows


def render_one(one: Event, column: str, settings: RowSettings | None = None) -> str:
    """Return the cell of one column for the only recipient of an event."""
    event_type = next(name for name, tag in TAGS.items() if tag == one["type"])
    settings = settings or row_settings([column])
    return render(event_type, settings, [(b"1790596800000-7", payload(one))]).decode().removesuffix("\n")
