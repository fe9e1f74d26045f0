"""The inventory of a directory: every accounting file in it, and what it holds.

Reads only, takes no lock, and is safe while workers and the janitor are at work: a file may be moved, compressed or
expired between two looks, which `contents` answers by looking for its other form. An open file counts up to the length
that a commit record tells, never further; a file that no record names and that has no manifest is not listed.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from gzip import GzipFile
from io import BufferedReader
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import zstandard

from worker import regular
from worker.manifest import BadManifest, Manifest, decode, manifest_path
from worker.records import FileState, Record
from worker.series import Series, load
from worker.settings import DirectorySettings

_BUFFER_BYTES = 1 << 20
_WINDOW_BYTES = 8 << 20  # memory that a frame may ask for: level 19 does, and no worker goes so far


class Place(NamedTuple):
    """Where the files of one type stand: in one location, and in the archives that it ever had."""

    event_type: str
    open: Path
    archive: Path  # where files go today
    earlier: tuple[Path, ...] = ()  # archives of earlier configurations
    series: tuple[Series, ...] = ()  # of the files that were born here
    elsewhere: frozenset[str] = frozenset()  # ids of the series of the type that were born in other locations
    is_configured: bool = True  # new files are made here

    @property
    def directories(self) -> tuple[Path, ...]:
        """Return the directories in the order in which a file moves, so that none is missed on its way."""
        return (self.open, self.archive, *self.earlier)

    def series_of(self, state: FileState) -> Series | None:
        """Return the series that an open file was born into, None where nothing tells."""
        return next((each for each in self.series if each.id == state.series), None)

    def holds(self, state: FileState) -> bool:
        """Tell whether an open file stands here: by its series, else where new files are made."""
        if self.series_of(state):
            return True
        return self.is_configured and state.series not in self.elsewhere


class Stored(NamedTuple):
    """An accounting file as it stands: sealed, with a manifest, or open, with what a record tells."""

    event_type: str
    path: Path  # of the file under its own name; the compressed form stands beside that
    length: int  # bytes that count, uncompressed
    rows: int
    opened_ms: int
    first_id: str | None  # lowest and highest stream id of an entry with rows here
    last_id: str | None
    first_time_ms: int | None
    last_time_ms: int | None
    manifest: Manifest | None  # None: open, or rotated and not sealed yet
    series: Series | None = None  # of an open file: how its rows look, where that is known
    sha256: str | None = None  # of an open file, as far as it counts

    @property
    def content_path(self) -> Path:
        """Return the path of its content, compressed or not."""
        if self.manifest is None:
            return self.path
        compressed = self.manifest.compressed
        return self.path.with_name(compressed.name if compressed else self.manifest.plain_name)

    @property
    def plain_path(self) -> Path:
        """Return the path of its content while that is not compressed."""
        return self.path.with_name(self.manifest.plain_name) if self.manifest else self.path


def place_of(directory: Path, series: Series) -> Place:
    """Return where the files of a series stand."""
    return Place(series.type, directory / series.location, directory / series.archive, series=(series,))


def places(settings: DirectorySettings) -> list[Place]:
    """Return where files stand: of each type the configured place, then those of earlier configurations.

    Raises OSError.
    """
    known = load(settings.path)
    found = []
    for event_type, configured in settings.location.items():
        born: dict[Path, list[Series]] = {settings.path / configured: []}
        for each in known.values():
            if each.type == event_type:
                born.setdefault(settings.path / each.location, []).append(each)
        for location, of_location in born.items():
            archives = [settings.path / each.archive for each in of_location]
            if is_configured := location == settings.path / configured:
                archives.insert(0, location / settings.archive_to[event_type])
            archive, *earlier = dict.fromkeys(archives)
            elsewhere = {each.id for each in known.values() if each.type == event_type} - {x.id for x in of_location}
            found.append(
                Place(
                    event_type,
                    location,
                    archive,
                    tuple(earlier),
                    tuple(of_location),
                    frozenset(elsewhere),
                    is_configured,
                )
            )
    return found


def configured_places(settings: DirectorySettings) -> dict[str, Place]:
    """Return where new files stand, by type. Raises OSError."""
    return {place.event_type: place for place in places(settings) if place.is_configured}


def sealed(
    place: Place, bad: list[BadManifest] | None = None, unreadable: list[OSError] | None = None
) -> Iterator[Stored]:
    """Yield the sealed files of a type by name, whether their content still stands there or not.

    What is no manifest goes to `bad`, what the disk does not give to `unreadable`, or is raised where there is no such
    list. A file that stands in both directories (it is on its move, or that was interrupted) is yielded once, as
    archived.
    """
    found = {
        stored.path.name: stored
        for directory in place.directories
        for stored in sealed_in(directory, place.event_type, bad, unreadable)
    }
    yield from (found[name] for name in sorted(found))


def sealed_in(
    directory: Path, event_type: str, bad: list[BadManifest] | None = None, unreadable: list[OSError] | None = None
) -> Iterator[Stored]:
    """Yield the sealed files of a type whose manifests stand in one directory; the lists are as in `sealed`."""
    try:
        for path in _manifests(directory):
            if manifest := _read_manifest(path, bad, unreadable):
                yield _of_manifest(event_type, directory, manifest)
    except OSError as error:
        if unreadable is None:
            raise
        unreadable.append(error)


def _read_manifest(path: Path, bad: list[BadManifest] | None, unreadable: list[OSError] | None) -> Manifest | None:
    """Return a manifest, None where it is moved or expired meanwhile, or what was wrong went to a list."""
    try:
        return decode(regular.content(path), path)
    except FileNotFoundError:
        return None
    except BadManifest as error:
        if bad is None:
            raise
        bad.append(error)
    except OSError as error:
        if unreadable is None:
            raise
        unreadable.append(error)
    return None


def unsealed(place: Place, records: Iterable[Record]) -> Iterator[Stored]:
    """Yield the files of a type that these commit records of the directory name: open ones and those not sealed yet."""
    for record in records:
        if (state := record.files.get(place.event_type)) and place.holds(state):
            yield _of_state(place, state)
        for closing in record.closing:
            if closing.event_type == place.event_type and place.holds(closing.file):
                yield _of_state(place, closing.file)


def sealed_names(place: Place) -> set[str]:
    """Return the names of the sealed files of a type, without reading their manifests."""
    return {path.name.removesuffix(".json") for directory in place.directories for path in _manifests(directory)}


def sealed_file(place: Place, name: str) -> Stored | None:
    """Return a sealed file by its name, None where it is not sealed, or has expired. Raises BadManifest."""
    found = None
    for directory in place.directories:
        path = manifest_path(directory / name)
        try:
            found = _of_manifest(place.event_type, directory, decode(regular.content(path), path))
        except FileNotFoundError:
            continue
    return found


@contextmanager
def contents(path: Path) -> Iterator[IO[bytes]]:
    """Open the content of an accounting file, decompressed by the ending of its name."""
    with regular.opened(path, _BUFFER_BYTES) as raw:
        yield decompressed(raw, path.suffix)


def lines(stored: Stored) -> Iterator[bytes]:
    """Yield the lines of a file as far as they count, the header included, each with its end.

    A value never holds a line break, whatever the format, so lines are rows.
    """
    left = stored.length
    with contents(stored.content_path) as content:
        for line in regular.lines(content, str(stored.content_path)):
            left -= len(line)
            if left < 0:
                return
            yield line


def _manifests(directory: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.endswith(".json") and not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
            yield directory / entry.name


def _of_manifest(event_type: str, directory: Path, manifest: Manifest) -> Stored:
    return Stored(
        event_type=event_type, path=directory / manifest.name, length=manifest.bytes, rows=manifest.rows,
        opened_ms=manifest.opened_ms, first_id=manifest.first_id, last_id=manifest.last_id,
        first_time_ms=manifest.first_time_ms, last_time_ms=manifest.last_time_ms,
        manifest=manifest,
    )  # fmt: skip


def _of_state(place: Place, state: FileState) -> Stored:
    return Stored(
        event_type=place.event_type, path=place.open / state.name, length=state.length, rows=state.rows,
        opened_ms=state.opened_ms, first_id=state.first_id, last_id=state.last_id,
        first_time_ms=state.first_time_ms, last_time_ms=state.last_time_ms, manifest=None,
        series=place.series_of(state), sha256=state.sha256,
    )  # fmt: skip


def decompressed(raw: BinaryIO, ending: str) -> IO[bytes]:
    """Return what reads the content of a file whose name has this ending."""
    match ending:
        case ".zst":
            decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
            reader = decompressor.stream_reader(raw, read_across_frames=True)
            return BufferedReader(reader, _BUFFER_BYTES)
        case ".gz":
            return BufferedReader(GzipFile(fileobj=raw), _BUFFER_BYTES)
        case _:
            return raw
