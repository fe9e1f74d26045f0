"""What the publish script numbers an entry with: `n`, how many events it holds, `at`, the running number of the last.

An entry without both was added by somebody else. It was never counted as published, so its events are counted as
foreign: only then what came is what went (docs/audit.md). Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple

_MAX_DIGITS = 15
_MAX_DIGITS_OF_EVENTS = 9  # no entry can hold as many: a counter must not overflow because of what somebody wrote


class Numbers(NamedTuple):
    """What an entry that was published carries."""

    n: int
    at: int


def numbers_of(fields: Sequence[bytes]) -> Numbers | None:
    """Return an entry's numbers, or None where it lacks one of them."""
    n, at = _number(fields, b"n", _MAX_DIGITS_OF_EVENTS), _number(fields, b"at", _MAX_DIGITS)
    return Numbers(n, at) if n and at is not None else None


def events_in(fields: Sequence[bytes]) -> int:
    """Return how many events an entry holds by its own word; 1 where that cannot be."""
    return _number(fields, b"n", _MAX_DIGITS_OF_EVENTS) or 1


def run_on(entries: Sequence[tuple[bytes, Sequence[bytes] | None]], events: int) -> bool:
    """Tell whether these entries were all published, by the first and the last of them.

    True where the running numbers rise by as many events as there are: then nothing foreign is in between.
    False proves nothing, for entries may be missing.
    """
    first, last = entries[0][1], entries[-1][1]
    begin, end = numbers_of(first or ()), numbers_of(last or ())
    return begin is not None and end is not None and end.at - begin.at + begin.n == events


def _number(fields: Sequence[bytes], name: bytes, max_digits: int) -> int | None:
    for found, value in zip(fields[::2], fields[1::2], strict=False):
        if found == name:
            return int(value) if value.isdigit() and len(value) <= max_digits else None
    return None
