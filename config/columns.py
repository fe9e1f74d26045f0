"""Columns: the comma-separated lists below `[fields]`."""

import re
from collections.abc import Iterator
from itertools import chain, islice

from config.problem import nearest
from schemas.catalogue import CUSTOM_PREFIX, FIELDS, header_of

# A field name of RFC 5322 is printable ASCII without blank and colon. Quote and backslash, which no header in use has,
# are left out too: they would have to be escaped in every JSON text and header line.
_HEADER = re.compile(r"[!#-9;-\[\]-~]+")
_TOLD = 20  # troubles of one list


def columns(text: str) -> tuple[str, ...]:
    """Return the names in their order; blanks around them do not count."""
    names = tuple(name.strip() for name in text.split(","))
    troubles = list(islice(chain(_unknown(names), _repeated(names)), _TOLD))
    if troubles:
        raise ValueError(f"{'; '.join(troubles)}: expected fields of docs/fields.md, each once, separated by commas")
    return names


def _unknown(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if not name:
            yield "empty field name"
        elif name.startswith(CUSTOM_PREFIX):
            if not _HEADER.fullmatch(name.removeprefix(CUSTOM_PREFIX)):
                yield f"{name!r} is no {CUSTOM_PREFIX} and the name of a message header, such as custom_Subject"
        elif name not in FIELDS:
            yield f"unknown field {name!r}{nearest(name, (*FIELDS, CUSTOM_PREFIX + 'FIELD'))}"


def _repeated(names: tuple[str, ...]) -> Iterator[str]:
    """Yield the fields that stand twice; headers are the same whatever their case."""
    seen: set[str] = set()
    for name in filter(None, names):
        same = CUSTOM_PREFIX + header_of(name) if name.startswith(CUSTOM_PREFIX) else name
        if same in seen:
            yield f"field {name!r} stands twice"
        seen.add(same)
