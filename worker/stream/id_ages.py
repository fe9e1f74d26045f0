"""Ages of ids: which ids of a stream are older than so much passed time. Pure.

An id says what the server's clock said, and that may have been set. So it is noted, once in a while, which id was the
newest one at which passed time: all up to that id are at least as old. Ids from before the first note are as old as
they say, by the time that the line of passed time began with.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct

from worker.records import id_order

_LARGEST = 2**64 - 1
_SHORTEST_MS = 3_600_000  # between two notes
_MOST_NOTES = 200

_Id = Annotated[str, Meta(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$")]


class Note(Struct, frozen=True, array_like=True):
    """An id that was the newest one."""

    passed_ms: int
    id: _Id


class IdAges(Struct, frozen=True):
    """The notes on one stream."""

    notes: Sequence[Note]  # the first one first; ids grow with time


NOTHING = IdAges([])


def noted(ages: IdAges, newest: str, now_ms: int, retention_ms: int, *, believed: bool = True) -> IdAges:
    """Return the notes with one on the newest id, if it is time for one.

    Those that are not needed to know what is older than the retention are dropped, the first one never. A stream whose
    newest id is lower than a noted one was made anew, and so are its notes. Then, and where ids are not `believed` at
    the first look (the server's clock does not go along with the line), they are as young as that look.
    """
    is_made_anew = ages.notes and id_order(newest) < id_order(ages.notes[-1].id)
    if is_made_anew or not (ages.notes or believed):
        ages = IdAges([Note(now_ms, "0-0"), Note(now_ms, newest)])
    if ages.notes and now_ms - ages.notes[-1].passed_ms < max(_SHORTEST_MS, retention_ms // _MOST_NOTES):
        return ages
    notes = [*ages.notes, Note(now_ms, newest)]
    old = [not_needed for not_needed, next_one in pairwise(notes[1:]) if now_ms - next_one.passed_ms >= retention_ms]
    return IdAges([notes[0], *notes[1 + len(old) :]])


def first_younger(ages: IdAges, now_ms: int, age_ms: int) -> str:
    """Return an id below which everything is that old or older; `0-0` where nothing is known to be."""
    if not ages.notes:
        return "0-0"
    first, then_ms = ages.notes[0], now_ms - age_ms
    by_themselves = min((max(0, then_ms), 0), _after(first.id))
    by_notes = max((_after(note.id) for note in ages.notes if note.passed_ms <= then_ms), default=(0, 0))
    return "{}-{}".format(*max(by_themselves, by_notes))


def _after(entry_id: str) -> tuple[int, int]:
    """Return the id behind one; where there is none of that millisecond, itself, and one entry more stays."""
    milliseconds, sequence = id_order(entry_id)
    return (milliseconds, min(sequence + 1, _LARGEST))


Ages = Mapping[str, IdAges]  # by type
