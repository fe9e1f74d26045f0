"""The files that `find` and `tail` look into, and what they share: options, and what is told beside the rows."""

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from schemas.catalogue import CUSTOM_PREFIX, FIELDS
from schemas.events import TYPES
from worker.commands.options import config_option, load_settings, redis_option, server_of
from worker.commands.terminal import warn
from worker.commands.used import used_id
from worker.errors import ExitCode, StreamUnavailable, Unreadable
from worker.identity import require_partition
from worker.inventory import Place, places
from worker.manifest import BadManifest
from worker.reading.criteria import Criterion
from worker.reading.parse import is_known
from worker.reading.search import Found, Search, list_files
from worker.records import Record
from worker.settings import Settings
from worker.stream.commit_records import CommitRecords

_NAMED = 3  # files that a trouble is told with


class Library:
    """The accounting files of a directory, some types of them."""

    def __init__(self, settings: Settings, places: Sequence[Place], records: CommitRecords | None) -> None:
        """Take where they stand; no `records`: no worker has used the directory."""
        self.settings = settings
        self.places = places
        self.records = records
        self.is_whole = True  # nothing had to be left out
        self._told: set[str] = set()

    def files(self) -> list[Found]:
        """Return the files as they stand; says so where open ones have to be left out, and what cannot be read."""
        bad: list[BadManifest] = []
        unreadable: list[OSError] = []
        found = list_files(self.places, self._open_files(), bad, unreadable)
        self.leave_out(*bad, *unreadable)
        if self.records is None and not found:  # a volume that is not mounted looks like that
            self.leave_out(f"{self.settings.directory.path}: no worker has used this directory")
        return found

    def _open_files(self) -> list[Record]:
        try:
            return self.read_records()
        except StreamUnavailable as error:
            self.leave_out(f"open files are left out: only the server knows how far they count ({error})")
            return []

    def read_records(self) -> list[Record]:
        """Return the directory's commit records; says once what is none. Raises StreamUnavailable."""
        if self.records is None:
            return []
        found = self.records.read()
        news = [why for why in self.records.unreadable if why not in self._told]
        self._told.update(news)
        self.leave_out(*(f"left out: {why}" for why in news))
        return found

    def leave_out(self, *what: BadManifest | OSError | str) -> None:
        """Tell what is left out, and remember that something is."""
        for each in what:
            warn(each if isinstance(each, str) else f"left out: {_told(each)}")
            self.is_whole = False


def on_library(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name files, and the library as its first argument."""

    @config_option
    @redis_option
    @click.option(
        "--type", "--types", "types", multiple=True, metavar="TYPE,…", callback=_types,
        help=f"Only rows of these types: {', '.join(TYPES)}.",
    )  # fmt: skip
    @functools.wraps(command)
    def run(config_file: Path | None, redis_url: str | None, types: Sequence[str], **options: Any) -> None:  # noqa: ANN401 - click's
        settings = load_settings(config_file, redis_url, None).settings
        with _library(settings, types) as library:
            command(library, **options)

    return run


@contextmanager
def _library(settings: Settings, types: Sequence[str]) -> Iterator[Library]:
    path = settings.directory.path
    chosen = [place for place in places(settings.directory) if place.event_type in types]
    if not path.is_dir():
        raise Unreadable(f"{path}: no such directory of accounting files")
    require_partition(path, settings.stream.partition)
    directory = used_id(path)
    if directory is None:
        yield Library(settings, chosen, None)
        return
    with CommitRecords(*server_of(settings), directory) as records:
        yield Library(settings, chosen, records)


def _types(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> Sequence[str]:
    words = [word.strip() for value in values for word in value.split(",") if word.strip()]
    for word in words:
        if word not in TYPES:
            raise click.BadParameter(f"{word!r}: expected some of {', '.join(TYPES)}{_nearest(word, TYPES)}")
    return words or TYPES


def _conditions(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[Criterion]:
    criteria = []
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise click.BadParameter(f"{text!r}: expected field=value; a value that is missing is -")
        if not is_known(name):
            known = (*FIELDS, f"{CUSTOM_PREFIX}<header>")
            raise click.BadParameter(f"unknown field {name!r}{_nearest(name, known)}; docs/fields.md lists them")
        criteria.append(Criterion(name, value))
    return criteria


where_option = click.option(
    "--where", "conditions", multiple=True, metavar="FIELD=VALUE", callback=_conditions,
    help="Only rows with exactly this value; - is a missing one. Several: all of them.",
)  # fmt: skip


def _nearest(word: str, known: Iterable[str]) -> str:
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    return f" (did you mean {names[close[0]]}?)" if close else ""


def _told(error: BadManifest | OSError) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


def warn_of_troubles(search: Search) -> None:
    """Tell, once for each reason, which files could not be searched."""
    for why, paths in search.troubles.items():
        named = ", ".join(str(path) for path in paths[:_NAMED])
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        warn(f"{why}: {named}{more}")
    search.troubles.clear()


def exit_code(count: int, library: Library, search: Search) -> ExitCode:
    """Return what a search ends with: whether rows were found, and whether all was looked at where none were."""
    if count:
        return ExitCode.OK
    return ExitCode.FAILED if library.is_whole and search.is_whole else ExitCode.UNAVAILABLE
