"""What becomes of `recovered/`: tails that were cut off a file, each with its note.

A tail goes once it is old enough and each of its rows was found in a sealed file of this directory: then it is a copy.
One that is in doubt is so no longer then, however old it is. Rows that are found nowhere, or look otherwise there since
the settings were changed, stay for a person to look at. So do copies of whole files, which hold committed rows that may
stand nowhere else, and all of `lost/`. What has no note was put there by somebody, and is left alone.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from worker import salvage
from worker.durable import sync_directory
from worker.identity import known_id
from worker.inventory import Place, Stored, sealed
from worker.janitor.proof import rows_without_proof
from worker.janitor.sightings import sealed_ms
from worker.manifest import BadManifest

_DAY_MS = 86_400_000
_SECONDS = 600.0, 86_400.0  # between two searches for the rows of one tail: the first time, and at most


class Cleared(Struct):
    """What was done, in tails."""

    settled: int = 0  # that were in doubt
    expired: int = 0
    unproven: int = 0  # that are old enough, and have rows that were found nowhere


class Tails:
    """The tails of one directory. What it remembers is when to look again, since a search reads many files."""

    def __init__(self, directory: Path, elapsed_seconds: Callable[[], float]) -> None:
        self._directory = directory
        self._elapsed_seconds = elapsed_seconds
        self._rests: dict[Path, tuple[float, float]] = {}  # until when, and for how long

    def clear(self, places: Sequence[Place], keep_days: int, now_ms: int) -> Cleared:
        """Settle what is in doubt, and remove what is old enough and a copy. Raises OSError."""
        done, notes = Cleared(), salvage.tails(self._directory)
        self._rests = {note: rest for note, rest in self._rests.items() if note in notes}
        for note in notes:
            tail, content = salvage.read_tail_note(note), salvage.content_of(note)
            is_old = now_ms - note.lstat().st_mtime_ns // 1_000_000 >= keep_days * _DAY_MS
            if tail is None or not (tail.in_doubt or is_old) or not content.exists() or self._is_resting(note):
                continue
            if rows_without_proof(content, list(self._candidates(tail, places))):
                done.unproven += is_old
                self._rest(note)
            elif is_old:
                content.unlink()
                note.unlink()  # last: without it nobody knows what the tail is
                sync_directory(note.parent)
                done.expired += 1
            else:
                salvage.settle(note, tail)
                done.settled += 1
        return done

    def _candidates(self, tail: salvage.TailNote, places: Sequence[Place]) -> Iterator[Stored]:
        """Yield the files that count here and were sealed since the tail's own file was begun; the latest first."""
        mine, bad = known_id(self._directory), list[BadManifest]()
        location = (self._directory / tail.file).parent
        of_type = {place.event_type for place in places if place.open == location}
        found = [
            stored
            for place in places
            if not of_type or place.event_type in of_type
            for stored in sealed(place, bad)
            if stored.manifest and stored.manifest.directory == mine and stored.manifest.reason != "replay"
            # clocks differ
            if sealed_ms(stored.manifest) >= tail.opened_ms - _DAY_MS
        ]
        yield from sorted(found, key=lambda stored: sealed_ms(stored.manifest), reverse=True)

    def _is_resting(self, note: Path) -> bool:
        return self._elapsed_seconds() < self._rests.get(note, (0.0, 0.0))[0]

    def _rest(self, note: Path) -> None:
        first, longest = _SECONDS
        seconds = min(longest, max(first, 2 * self._rests.get(note, (0.0, 0.0))[1]))
        self._rests[note] = self._elapsed_seconds() + seconds, seconds
