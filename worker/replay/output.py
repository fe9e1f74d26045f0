"""The files that a replay writes: laid out as a worker's sealed ones, named after what they hold.

A file grows under a temporary name and gets its own once it is whole, durable and read-only, its manifest first. So
whatever has its name is complete; what an interruption leaves behind is a temporary name, which the next run removes.
A name that is taken by the same content is left alone, one taken by anything else is an error: nothing is replaced.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from worker import modes
from worker.batch import Part
from worker.durable import make_directory, sync_directory, write_all
from worker.errors import AccountingError, DiskTrouble, Locked
from worker.manifest import Manifest, Writer, encode, manifest_path
from worker.naming import Names, Stamp, next_stamp
from worker.records import FileState
from worker.replay.span import instant_of, milliseconds_of
from worker.rows import Rows
from worker.settings import NameSettings

CONSUMER = "replay"  # in manifests, and in names that tell the consumer
REASON = "replay"

_TEMPORARY = ".replay.new"
_LIVE = ".directory-id"
_COMPARED_BYTES = 1 << 20
_WRITTEN_BYTES = 1 << 30  # by one call, which writes 2 147 479 552 at most


class LiveDirectory(AccountingError):
    """Workers write into this directory."""


class Different(AccountingError):
    """A file that stands there holds something else."""


class Placed(Struct, frozen=True):
    """A file that stands under its name."""

    type: str
    path: Path
    rows: int
    bytes: int
    sha256: str
    unchanged: bool  # it stood there already


@contextmanager
def target(path: Path) -> Iterator[None]:
    """Hold a directory for one replay at a time. Raises LiveDirectory, Locked, and DiskTrouble from the disk.

    The lock is on the directory itself, so that nothing is left in it.
    """
    for place in (path, *path.absolute().parents):
        if os.path.lexists(place / _LIVE):
            message = f"{path}: workers write into {place} ({_LIVE} is there): expected another directory"
            raise LiveDirectory(message)
    try:
        make_directory(path)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DiskTrouble(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Locked(f"{path}: another replay writes into it") from None
    finally:
        os.close(lock)


class Output:
    """The files of one type, one open at a time."""

    def __init__(self, directory: Path, names: NameSettings, rows: Rows, writer: Writer, event_type: str) -> None:
        """Take where they go to; `writer` is what their manifests say of who wrote them."""
        self._directory = directory
        self._temporary = directory / _TEMPORARY
        self._names = Names(names, event_type, writer.consumer)
        self._timezone = names.timezone
        self._rows = rows
        self._writer = writer
        self._type = event_type
        self._last: Stamp | None = None
        self._descriptor = -1
        self._state: FileState | None = None  # of the open file
        self._sha256 = hashlib.sha256()

    def length_with(self, part: Part) -> int:
        """Return how long the open file, or the next one, would be with these rows."""
        return (self._state.length if self._state else len(self._rows.header)) + len(part.rows)

    def append(self, part: Part) -> None:
        """Append rows; the first ones of a file give it its name. Raises DiskTrouble."""
        if not part.row_count:
            return
        try:
            state = self._state or self._begin(part.first_id or "0-0")
            for start in range(0, len(part.rows), _WRITTEN_BYTES):
                write_all(self._descriptor, part.rows[start : start + _WRITTEN_BYTES])
        except OSError as error:
            raise DiskTrouble(f"{self._directory}: {error.strerror}") from error
        self._sha256.update(part.rows)
        self._state = part.advance(state)

    def _begin(self, first_id: str) -> FileState:
        """Open a temporary file with the header, for a file that is named after its first stream id."""
        make_directory(self._directory)
        self.abandon()
        self._descriptor = os.open(
            self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, modes.FILE
        )
        write_all(self._descriptor, self._rows.header)
        self._sha256 = hashlib.sha256(self._rows.header)
        self._last = next_stamp(self._last, instant_of(first_id, self._timezone))
        return FileState(
            name=self._names.format(self._last), inode=0, length=len(self._rows.header),
            opened_ms=milliseconds_of(first_id),
        )  # fmt: skip

    def finish(self) -> Placed | None:
        """Give the open file its name, durably; None where none is open. Raises Different and DiskTrouble."""
        state = self._state
        if state is None:
            return None
        try:
            os.fchmod(self._descriptor, modes.sealed(os.fstat(self._descriptor).st_mode))
            os.fsync(self._descriptor)
            unchanged = self._place(state)
        except OSError as error:
            raise DiskTrouble(f"{self._directory / state.name}: {error.strerror}") from error
        sha256 = self._sha256.hexdigest()
        self.abandon()
        return Placed(self._type, self._directory / state.name, state.rows, state.length, sha256, unchanged)

    def _place(self, state: FileState) -> bool:
        """Link the file and its manifest to their names; True where both stood there already."""
        path = self._directory / state.name
        beside = self._temporary.with_name(f"{_TEMPORARY}.json")
        beside.unlink(missing_ok=True)
        _write(beside, encode(self._manifest(state)))
        try:
            pairs = [(beside, manifest_path(path)), (self._temporary, path)]
            missing = [pair for pair in pairs if not stands(*pair)]  # look at both before either is linked
            for source, name in missing:
                os.link(source, name)
        finally:
            beside.unlink()
        sync_directory(self._directory)
        return not missing

    def _manifest(self, state: FileState) -> Manifest:
        return Manifest(
            name=state.name, type=self._type, rows=state.rows, bytes=state.length, sha256=self._sha256.hexdigest(),
            columns=self._rows.columns, opened_ms=state.opened_ms, first_id=state.first_id, last_id=state.last_id,
            first_time_ms=state.first_time_ms, last_time_ms=state.last_time_ms, writer=self._writer.consumer,
            directory=self._writer.directory, reason=REASON, version=self._writer.version,
            format=self._writer.format, separator=self._writer.separator, timezone=self._writer.timezone,
            guarded=self._writer.guarded,
        )  # fmt: skip

    def abandon(self) -> None:
        """Give up what has no name yet, of this run or of one that was interrupted."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._state = None
        self._temporary.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, modes.SEALED)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stands(source: Path, path: Path) -> bool:
    """Tell whether the same content stands under a name already. Raises Different where something else does."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISREG(facts.st_mode) and facts.st_size == source.stat().st_size and _is_same(source, path):
        return True
    raise Different(f"{path}: holds something else than this replay; nothing is overwritten, give another directory")


def _is_same(one: Path, other: Path) -> bool:
    with one.open("rb") as mine, other.open("rb") as its:
        while block := mine.read(_COMPARED_BYTES):
            if block != its.read(len(block)):
                return False
    return True
