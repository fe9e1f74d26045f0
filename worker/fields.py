"""Fields of what is read back from the server and from files: each type has its range. Pure.

Whoever can write to the server, or into the directory, can write one: so a name is a name and no path, and a number
fits where it is used.
"""

from typing import Annotated

from msgspec import Meta

from schemas.events import TYPES

LARGEST = 2**53  # what JSON, Lua and JavaScript count exactly

#: A file in a directory of ours: what templates of names allow, so without a separator, and nothing that is hidden.
FileName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_:@=+,~ -][A-Za-z0-9._:@=+,~ -]{0,249}\Z")]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
StreamId = Annotated[str, Meta(pattern=r"\A[0-9]{1,20}(-[0-9]{1,20})?\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
SeriesId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
EventType = Annotated[str, Meta(pattern=rf"\A({'|'.join(TYPES)})\Z")]

LONGEST_NAME = 200  # characters that are shown: no name of ours is as long


def shown(name: str) -> str:
    """Return a name from the server as it is shown, cut where somebody else made it very long."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


_MOST_DIGITS = 16  # of a counter; an epoch is a time in µs


def is_count(text: str) -> bool:
    """Tell whether a text is a number that was counted."""
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
