"""Keys: what an entry is recognised by when its events come again under another stream id (design section 7).

The plugin numbers each event `<producer>:<batch>:<index>`, and sends a batch again as it was, byte by byte. So the id
of an entry's first event, without the index, tells the entry from all others of its type. What has no such id (it was
added by hand, or is a dead letter that was put back) is known by its stream id. Pure.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

_LONGEST = 200  # characters of an event's id
_NUMBERED = re.compile(r"(?P<batch>[^ ]+:[0-9]{1,16}):[0-9]{1,9}")
_BY_STREAM_ID = "@"


def ids_of(ids: Sequence[bytes], events: Sequence[Sequence[Any]]) -> str:
    """Return the ids of the first events of entries, separated by blanks; `ids` are the entries' stream ids.

    Mostly they are fit to be joined as they are; `keys_of` takes the index off where keys are needed.
    """
    found = [decoded[0].event_id for decoded in events]
    try:
        text = " ".join(found)
    except TypeError:
        text = ""
    if text.count(" ") == len(found) - 1 and len(text) <= _LONGEST * len(found) and all(found):
        return text
    return " ".join(by_itself(entry_id, decoded[0].event_id) for entry_id, decoded in zip(ids, events, strict=True))


def by_itself(entry_id: bytes, event_id: Any) -> str:  # noqa: ANN401 - whatever somebody put there
    """Return the id of an entry's first event, or what stands for it where that is none of the plugin's."""
    if isinstance(event_id, str) and len(event_id) <= _LONGEST and _NUMBERED.fullmatch(event_id):
        return event_id
    return by_stream_id(entry_id)


def by_stream_id(entry_id: bytes) -> str:
    """Return what stands for the id of an event that has none of its own."""
    return _BY_STREAM_ID + entry_id.decode("ascii")


def keys_of(text: str) -> Iterator[str]:
    """Yield the keys of entries by what `ids_of` returned for them; none for an id that tells no entry from others."""
    for event_id in text.split(" "):
        if numbered := _NUMBERED.fullmatch(event_id):
            yield numbered["batch"]
        elif event_id.startswith(_BY_STREAM_ID):
            yield event_id
