"""A replay: pages of a source rendered as the worker renders them, and split into files by whole entries."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from schemas.events import TYPES
from worker import __version__
from worker.batch import Part, TypeRenderer, slices
from worker.decode import DeadLetter, Decoded, RawEntry
from worker.inventory import configured_places
from worker.manifest import Writer
from worker.replay.output import CONSUMER, Output, Placed
from worker.replay.sources import Source
from worker.settings import Settings

_LISTED = 1000  # dead events that are kept to be listed; all are counted


class DeadEvent(Struct, frozen=True):
    """An event that could not become rows."""

    type: str
    entry: str  # its stream id
    index: int  # in the entry; -1: all of it
    bytes: int
    error: str


class Tally(Struct):
    """What a replay has done so far."""

    entries: int = 0
    events: int = 0
    rows: int = 0
    dead: int = 0
    listed: list[DeadEvent] = field(default_factory=list)
    files: list[Placed] = field(default_factory=list)


class Replay:
    """Writes what a source yields into one directory. Raises Different, DiskTrouble, and what the source raises."""

    def __init__(self, settings: Settings, into: Path, narrow: Callable[[Decoded], Decoded] | None = None) -> None:
        """Take the settings of the workers; `narrow` takes out of the events what is not wanted."""
        rotation = settings.rotation
        self._max_bytes = rotation.max_size_bytes if rotation.archiving else None
        self._renderers = {name: TypeRenderer(name, settings.rows, narrow) for name in TYPES}
        self._outputs = _outputs(settings, into, self._renderers)
        self.tally = Tally()

    def run(self, source: Source) -> Iterator[int]:
        """Write everything, and yield after each page how far the source is; once it is exhausted, all files stand."""
        try:
            for page in source.pages():
                self._add(page.event_type, page.entries)
                yield page.done
            for output in self._outputs.values():
                self._finish(output)
        finally:
            for output in self._outputs.values():
                with suppress(OSError):  # it is the first error that has to be told
                    output.abandon()

    def _add(self, event_type: str, entries: Sequence[RawEntry]) -> None:
        """Write entries; where they fill the file, find the one that does so.

        Where a file ends must not depend on how the entries came in pages.
        """
        output = self._outputs[event_type]
        part = self._renderers[event_type].part(entries)
        is_full = self._max_bytes is not None and output.length_with(part) >= self._max_bytes
        if is_full and len(entries) > 1:
            for some in _pieces(entries):
                self._add(event_type, some)
            return
        output.append(part)
        self._count(part)
        if is_full:
            self._finish(output)

    def _finish(self, output: Output) -> None:
        if placed := output.finish():
            self.tally.files.append(placed)

    def _count(self, part: Part) -> None:
        tally = self.tally
        tally.entries += len(part.ids)
        tally.events += part.event_count
        tally.rows += part.row_count
        tally.dead += part.dead_count
        tally.listed += (_dead(letter) for letter in part.dead[: max(0, _LISTED - len(tally.listed))])


def _pieces(entries: Sequence[RawEntry]) -> Sequence[Sequence[RawEntry]]:
    """Return entries in slices, or a slice in halves: most of a page is rendered twice then, and not more often."""
    half = len(entries) // 2
    pieces = list(slices(entries))
    return pieces if len(pieces) > 1 else (entries[:half], entries[half:])


def _dead(letter: DeadLetter) -> DeadEvent:
    return DeadEvent(letter.event_type, letter.entry_id.decode(), letter.position, len(letter.payload), letter.error)


def _outputs(settings: Settings, into: Path, renderers: Mapping[str, TypeRenderer]) -> dict[str, Output]:
    """Return where the files of each type go to: where a worker's sealed ones would stand below the directory."""
    rows = settings.rows
    writer = Writer(
        consumer=CONSUMER, directory="", version=__version__, format=str(rows.format), separator=rows.separator,
        timezone=str(rows.timezone), guarded=rows.guarded,
    )  # fmt: skip
    found = {}
    for event_type, place in configured_places(settings.directory).items():
        inside = (place.archive if settings.rotation.archiving else place.open).relative_to(settings.directory.path)
        found[event_type] = Output(into / inside, settings.names, renderers[event_type].rows, writer, event_type)
    return found
