"""Dead letters as the source of a replay: those that can be decoded by now become rows. They stay where they are."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from worker.records import id_order
from worker.replay.sources import Page
from worker.replay.span import Span, is_id
from worker.stream.dead_letters import WHOLE_ENTRY, DeadLetters, Letter, NoSuchLetter

SOURCE = "dead"  # what the command calls them


class _Found(NamedTuple):
    """A letter that is wanted; in this order they are written, which is that of the streams."""

    event_type: str
    entry: tuple[int, int]
    position: int
    letter_id: str


class LetterSource:
    """The dead letters that there are when it is made, of these types and from entries in this span."""

    def __init__(self, dead: DeadLetters, types: Sequence[str], span: Span) -> None:
        """Look through them: only where each came from is kept. Raises StreamUnavailable."""
        self._dead = dead
        self.foreign = 0  # letters that name no entry of a stream: somebody added them by hand
        self._found: list[_Found] = []
        for letter in dead.letters(dead.last_id()):
            if not letter.is_ours or letter.index is None or not is_id(letter.entry_id):
                self.foreign += 1
            elif letter.type in types and span.holds(letter.entry_id):
                self._found.append(_Found(letter.type, id_order(letter.entry_id), letter.index, letter.id))
        self._found.sort(key=lambda each: (types.index(each.event_type), each))

    @property
    def total(self) -> int | None:
        """Return their number."""
        return len(self._found)

    def pages(self) -> Iterator[Page]:
        """Yield everything once, each letter as an entry of its own; those that are gone meanwhile are left out."""
        for done, found in enumerate(self._found, 1):
            with suppress(NoSuchLetter):
                letter = self._dead.get(found.letter_id)
                yield Page(found.event_type, [(letter.entry_id.encode(), (b"events", _events(letter)))], done)


def _events(letter: Letter) -> bytes:
    """Return the array of events that a letter stands for."""
    return b"[" + letter.payload + b"]" if letter.index != WHOLE_ENTRY else letter.payload
