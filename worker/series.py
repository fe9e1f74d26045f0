"""Series: where accounting files stand and how their rows are written, told from their birth (design section 6).

A file names the series that it was born into, in its commit record and in the journal. Whoever seals, finds, reads or
expires it goes by that, and not by what is configured today. A series is kept at `<path>/series/<id>.json`, durably,
before a file of it exists, and is never changed or removed: its id is the digest of its content.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec
from msgspec import Struct

from schemas.events import TYPES
from worker import regular
from worker.durable import make_directory, sync_directory, write_durably
from worker.log import event
from worker.rows import header_line
from worker.settings import Format

_log = logging.getLogger(__name__)

FOLDER = "series"

_ID = re.compile(r"[0-9a-f]{16}")


class Series(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the accounting files of one type and configuration have in common."""

    type: str
    location: str  # of open files, relative to the directory
    archive: str  # of sealed ones, likewise
    format: str
    separator: str
    timezone: str
    columns: tuple[str, ...]
    guarded: bool = False  # against formulas; left out of the content, and so of the id, where it is not

    @property
    def id(self) -> str:
        """Return what it is known by: 16 hexadecimal digits of the digest of its content."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    @property
    def header(self) -> bytes:
        """Return the first line of its files; empty for a format without."""
        return header_line(Format(self.format), self.separator, self.columns)


_decoder = msgspec.json.Decoder(Series)


def keep(directory: Path, series: Series) -> None:
    """Make a series known in a directory, durably. Raises OSError."""
    folder = directory / FOLDER
    make_directory(folder)
    path = folder / f"{series.id}.json"
    if not path.exists():
        write_durably(path, msgspec.json.format(msgspec.json.encode(series)) + b"\n")
    sync_directory(folder)  # whoever wrote it may have died before


def load(directory: Path) -> Mapping[str, Series]:
    """Return the series of a directory by id. What is none is told and left out; raises OSError."""
    found = {}
    folder = directory / FOLDER
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if not _ID.fullmatch(path.stem):
            continue
        try:
            series = _read(path)
        except ValueError as error:
            event(_log, "series.unreadable", logging.ERROR, file=path, why=error)
        else:
            found[series.id] = series
    return found


def _read(path: Path) -> Series:
    """Read a series. Raises ValueError for what no worker wrote."""
    try:
        series = _decoder.decode(regular.content(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a series: {error}") from error
    if series.id != path.stem:
        raise ValueError(f"its content has the id {series.id}")
    if series.type not in TYPES:
        raise ValueError(f"unknown type {series.type!r}")
    Format(series.format)
    for place in (series.location, series.archive):
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise ValueError(f"{place!r} is not inside the directory")
    return series
