"""The book of the names that a location has given out: `<location>/.names`.

What survives a crash: the book as it was written last, whole. One that cannot be read is put aside, and begun anew
behind every name that can be told to have been used: of files that stand here or in the archive, of expired ones in the
catalogue, and of whatever was made before the book was written last. Names of unfinished files are lost with it; files
that a commit record names are found by that, others stay as they are.
"""

import logging
import os
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import msgspec

from worker import regular
from worker.catalogue import expired
from worker.durable import write_durably
from worker.fields import FileName
from worker.inventory import Place
from worker.log import event
from worker.naming import Names, Stamp

_log = logging.getLogger(__name__)

_BOOK = ".names"


class Unreadable(Exception):
    """The book of names is not one that a worker wrote."""


class Book(msgspec.Struct, frozen=True):
    """The names that a location has given out: the last one's stamp, and those of files not known to be finished."""

    last: str = ""
    open: tuple[FileName, ...] = ()


def load(location: Path) -> Book:
    """Return the book of a location, an empty one where it has none yet. Raises Unreadable, OSError."""
    path = location / _BOOK
    try:
        book = msgspec.json.decode(regular.content(path), type=Book)
    except FileNotFoundError:
        return Book()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{path}: {error}") from error
    if book.last and Stamp.parse(book.last) is None:
        raise Unreadable(f"{path}: the last name has the stamp {book.last!r}")
    return book


def save(location: Path, book: Book) -> None:
    """Write the book of a location, durably."""
    write_durably(location / _BOOK, msgspec.json.encode(book))


def begin_anew(place: Place, names: Names, timezone: tzinfo, why: Unreadable) -> Book:
    """Put a book that cannot be read aside, and write one behind all names in use; with the lock on names held."""
    path = place.open / _BOOK
    # Within the second in which it was written, names may have been given out with any suffix.
    written = datetime.fromtimestamp(path.stat().st_mtime, timezone) + timedelta(seconds=1)
    stamps = (latest_in_use(place, names), Stamp.at(written))
    book = Book(str(max(stamp for stamp in stamps if stamp)))
    kept = _keep(path)
    save(place.open, book)
    event(_log, "names.unreadable", logging.ERROR, why=why, kept=kept, next="names go on behind " + book.last)
    return book


def latest_in_use(place: Place, names: Names) -> Stamp | None:
    """Return the latest stamp among the files that are there, or that have expired."""
    standing = (
        entry.name.removesuffix(".json")  # the manifest of a compressed file has its name
        for directory in place.directories
        if directory.is_dir()
        for entry in directory.iterdir()
    )
    stamps = [names.parse(name) for name in (*standing, *(manifest.name for manifest in expired(place)))]
    return max((stamp for stamp in stamps if stamp), default=None)


def _keep(path: Path) -> Path:
    """Link a file under a second name that is free."""
    number = 1
    while True:
        kept = path.with_name(f"{path.name}.unreadable.{number}")
        try:
            os.link(path, kept)
        except FileExistsError:
            number += 1
        else:
            return kept
