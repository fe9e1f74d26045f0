"""A location: where the open files of one type stand, and the names that it has given out.

What survives a crash: the book of names (`<location>/.names`).
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, tzinfo
from pathlib import Path

from worker import book
from worker.accounting_file import AccountingFile
from worker.durable import make_directory, sync_directory, write_new
from worker.errors import DiskTrouble
from worker.inventory import Place
from worker.locks import held
from worker.naming import Names, Stamp, next_stamp


class Location:
    """The directory of one type's open files, and the archive inside it."""

    def __init__(
        self, place: Place, names: Names, timezone: tzinfo, *, archiving: bool, others: Sequence[Path] = ()
    ) -> None:
        """`names` and `timezone` are for new files; those that stand there may have been named otherwise.

        `others` are all locations that files of the type ever had: a name is new in all of them.
        """
        self.path = place.open
        self.archive = place.archive
        self.place = place
        self._names = names
        self._timezone = timezone
        self._archiving = archiving
        self._others = others

    def prepare(self) -> None:
        """Make the directories, and durable that they are there."""
        for directory in (self.path, self.archive) if self._archiving else (self.path,):
            make_directory(directory)
            sync_directory(directory.parent)  # whoever made it may have died before

    def create(self, consumer: str, header: bytes, series: str, now: datetime) -> AccountingFile:
        """Make a new file under a name that this directory never had; `now` is aware."""
        try:
            with self._names_lock():
                path = self._next_path(now)
                temporary = self.path / f".{consumer}.new"
                opened_ms = int(now.timestamp() * 1000)
                return AccountingFile.create(path, temporary, header, opened_ms=opened_ms, series=series)
        except OSError as error:
            raise DiskTrouble(f"{self.path}: no new accounting file: {error.strerror}") from error

    @contextmanager
    def _names_lock(self) -> Iterator[None]:
        """Be the one that gives out names, here and in the other locations of the type."""
        with ExitStack() as stack:
            for location in sorted({self.path, *self._others}):  # in one order, so that nobody waits for ever
                if location.is_dir():
                    stack.enter_context(held(location / ".names.lock"))
            yield

    def prove_writable(self, consumer: str, size: int) -> None:
        """Write a file of some bytes, make it durable, and unlink it. Raises DiskTrouble."""
        probe = self.path / f".{consumer}.probe"
        try:
            probe.unlink(missing_ok=True)
            write_new(probe, os.urandom(size))  # zeros may take no room
            probe.unlink()
            sync_directory(self.path)
        except OSError as error:
            raise DiskTrouble(f"{self.path}: nothing can be written: {error.strerror}") from error

    def given_out(self) -> tuple[str, ...]:
        """Return the names of files that this directory made and that were not finished when it last looked."""
        try:
            return book.load(self.path).open
        except book.Unreadable:
            with self._names_lock():
                return self._book().open

    def _book(self) -> book.Book:
        """Return the book of names, begun anew where it cannot be read; with the lock on names held."""
        try:
            return book.load(self.path)
        except book.Unreadable as error:
            return book.begin_anew(self.place, self._names, self._timezone, error)

    def _next_path(self, now: datetime) -> Path:
        """Return the next name, written down as given out before anybody can use it."""
        known = self._book()
        last = Stamp.parse(known.last) or book.latest_in_use(self.place, self._names)
        stamps = [stamp for stamp in (last, *map(_last_stamp, self._others)) if stamp]
        stamp = next_stamp(max(stamps, default=None), now.astimezone(self._timezone))
        while self._is_used(self._names.format(stamp)):  # foreign files, or a book that was lost
            stamp = stamp.successor()
        name = self._names.format(stamp)
        unfinished = (each for each in known.open if self._is_unfinished(each))
        book.save(self.path, book.Book(str(stamp), (*unfinished, name)))
        return self.path / name

    def _is_unfinished(self, name: str) -> bool:
        """Tell whether a file is still to be sealed, which takes its write permission away, or to be archived."""
        try:
            here = (self.path / name).lstat()
        except FileNotFoundError:
            return False
        return bool(here.st_mode & stat.S_IWUSR) or (self._archiving and self._can_be_archived(name, here))

    def _can_be_archived(self, name: str, here: os.stat_result) -> bool:
        """Tell whether a sealed file can be moved: not to another file system, nor where another has its name."""
        try:
            if here.st_dev != self.archive.stat().st_dev:
                return False
            return (self.archive / name).lstat().st_ino == here.st_ino  # its move was interrupted
        except FileNotFoundError:
            return True

    def _is_used(self, name: str) -> bool:
        return any(
            os.path.lexists(directory / used)
            for directory in (*self.place.directories, *self._others)
            for used in (name, f"{name}.json")
        )


def _last_stamp(location: Path) -> Stamp | None:
    """Return the last stamp that another location of the type has given out, as far as its book tells."""
    try:
        return Stamp.parse(book.load(location).last)
    except book.Unreadable:
        return None
