"""The journal of a consumer: what it was about to commit, and what was acknowledged (design section 5).

`<path>/journal/<consumer>`, one line for each of: the head (whose journal this is), an intent (a commit is about to be
sent, for these events), an acknowledged record, an adopted record, and keys of events that were written before the
journal was begun. Each line has its checksum, so a torn one is passed over. The server is asked first, always; the
journal is for a server that forgot.

What survives a crash: all that was written, in a SIGKILL; in a power cut all but the last second, since nothing waits
for the disk but what is adopted. An intent proves nothing by itself: a later acknowledged or adopted record does, or
the record that the server has.
"""

import logging
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from worker import regular
from worker.durable import make_directory, sync_directory, write_all, write_new
from worker.errors import DiskTrouble
from worker.fields import Count
from worker.locks import is_name
from worker.log import event
from worker.records import Record

_log = logging.getLogger(__name__)

FOLDER = "journal"
_OLD = "~old"  # ending of the one before, kept for the keys in it; no consumer's name has a ~
_NEW = "~new"

_LIMIT_BYTES = 8_000_000  # then it is begun anew
_SYNC_SECONDS = 1.0
_END_BYTES = 500_000  # mostly hold a record
_WINDOW_MS = 600_000  # of events that may come again: longer than a plugin's ring remembers them, by default
_LONGEST_STEP_MS = 60_000  # from one line to the next: what is beyond it can be a clock that was set

#: By type, keys of entries whose rows stand in files, separated by blanks (`worker.event_keys`).
EventKeys = Mapping[str, str]


class Head(Struct, frozen=True, kw_only=True, tag="head"):
    """Whose journal this is."""

    directory: str
    consumer: str


class Intent(Struct, frozen=True, kw_only=True, tag="intent"):
    """A commit is about to be sent."""

    commit: Count  # its number: the record's `batch`
    at_ms: Count  # by the worker's clock
    keys: EventKeys


class Acknowledged(Struct, frozen=True, kw_only=True, tag="acknowledged"):
    """The server answered that a commit ran."""

    record: Record


class Adopted(Struct, frozen=True, kw_only=True, tag="adopted"):
    """What the server had at a registration; an intent that it does not prove is void."""

    record: Record


class Written(Struct, frozen=True, kw_only=True, tag="written"):
    """Keys of events whose rows are committed, from a journal before this one."""

    at_ms: Count
    keys: EventKeys


_Line = Head | Intent | Acknowledged | Adopted | Written
_decoder = msgspec.json.Decoder(_Line)
_encode = msgspec.json.Encoder().encode


class Told(Struct, frozen=True, kw_only=True):
    """What a journal tells."""

    record: Record | None = None  # the last one acknowledged or adopted
    intent: Intent | None = None  # that no record of this journal proves
    window: Sequence[Written] = ()  # the events of the last minutes, the oldest first

    def proven_by(self, record: Record | None) -> "Told":
        """Return the same after a look at the server's record: it proves the intent, or makes it void."""
        proven = self.intent and record and record.batch >= self.intent.commit
        more = [Written(at_ms=self.intent.at_ms, keys=self.intent.keys)] if self.intent and proven else []
        return Told(record=self.record, window=[*self.window, *more])


def read(directory: Path, consumer: str, directory_id: str) -> Told:
    """Return what the journal of a consumer tells; nothing where it has none, or one of another directory.

    Raises OSError. A line that is torn, or that this version does not know, tells nothing.
    """
    path = directory / FOLDER / consumer
    lines = [*_lines(path.with_name(consumer + _OLD), consumer, directory_id), *_lines(path, consumer, directory_id)]
    record, intent, window = None, None, list[Written]()
    for line in lines:
        match line:
            case Intent():
                intent = line
            case Acknowledged() | Adopted():
                record = line.record
                if intent and record.batch >= intent.commit:
                    window.append(Written(at_ms=intent.at_ms, keys=intent.keys))
                intent = None
            case Written():
                window.append(line)
            case Head():
                pass
    return Told(record=record, intent=intent, window=_recent(window))


def consumers(directory: Path) -> Sequence[str]:
    """Return the names of the consumers that have a journal in a directory. Raises OSError."""
    folder = directory / FOLDER
    names = {path.name.removesuffix(_OLD) for path in folder.iterdir()} if folder.is_dir() else ()
    return sorted(name for name in names if is_name(name))


def last_record(directory: Path, consumer: str, directory_id: str | None = None) -> Record | None:
    """Return the last record in the journal of a consumer; of whichever directory it is, where none is named.

    Reads its end only. Raises OSError.
    """
    try:
        with regular.opened(directory / FOLDER / consumer) as content:
            head = _decoded(content.readline(regular.LONGEST_LINE_BYTES).rstrip(b"\n"))
            is_wanted = directory_id is None or head == Head(directory=directory_id, consumer=consumer)
            return _last_record(content) if is_wanted else None
    except FileNotFoundError:
        return None


def _last_record(content: BinaryIO) -> Record | None:
    size = content.seek(0, os.SEEK_END)
    first = max(0, size - regular.MOST_BYTES)
    for start in (max(0, size - _END_BYTES), first):
        content.seek(start)
        lines = (_decoded(line) for line in reversed(content.read(size - start).split(b"\n")))
        found = next((line.record for line in lines if isinstance(line, Acknowledged | Adopted)), None)
        if found is not None or start == first:
            return found
    return None


def directory_ids(directory: Path) -> set[str]:
    """Return the ids of the directories that the journals here are of. Raises OSError."""
    folder, found = directory / FOLDER, set[str]()
    for path in folder.iterdir() if folder.is_dir() else ():
        with regular.opened(path) as content:
            head = _decoded(content.readline(regular.LONGEST_LINE_BYTES).rstrip(b"\n"))
        if isinstance(head, Head):
            found.add(head.directory)
    return found


class Journal:
    """The journal of this process, open for appending; its consumer's lock is held. Raises DiskTrouble."""

    def __init__(self, directory: Path, consumer: str, directory_id: str, monotonic: Callable[[], float]) -> None:
        self._path = directory / FOLDER / consumer
        self._head = Head(directory=directory_id, consumer=consumer)
        self._monotonic = monotonic
        self._descriptor = -1
        self._bytes = 0
        self._sync_at: float | None = None  # None: all is durable

    def begin(self, record: Record, window: Sequence[Written]) -> None:
        """Begin the journal anew, durably: with an adopted record, and what has to be remembered."""
        lines: list[_Line] = [self._head, *_recent(window), Adopted(record=record)]
        self.close()
        try:
            make_directory(self._path.parent)
            fresh = self._path.with_name(self._path.name + _NEW)
            fresh.unlink(missing_ok=True)
            write_new(fresh, b"".join(map(_encoded, lines)))
            fresh.replace(self._path)
            self._path.with_name(self._path.name + _OLD).unlink(missing_ok=True)
            sync_directory(self._path.parent)
            self._open()
        except OSError as error:
            raise self._trouble(error) from error

    def adopt(self, record: Record) -> None:
        """Note, durably, a record that is adopted by a process that goes on."""
        self._append(Adopted(record=record))
        self.sync()

    def intend(self, commit: int, at_ms: int, keys: EventKeys) -> None:
        """Note that a commit is about to be sent."""
        self._append(Intent(commit=commit, at_ms=at_ms, keys=keys))

    def acknowledge(self, record: Record) -> None:
        """Note a record that the server has acknowledged."""
        self._append(Acknowledged(record=record))
        if self._bytes > _LIMIT_BYTES:
            self._turn_over(record)
        elif self._sync_at is not None and self._monotonic() >= self._sync_at:
            self.sync()

    def sync(self) -> None:
        """Make all of it durable."""
        if self._sync_at is None:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self.close()  # nobody knows what of it was written
            raise self._trouble(error) from error
        self._sync_at = None

    @property
    def is_open(self) -> bool:
        """Tell whether lines can be appended; after trouble it has to be begun anew."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Close it, as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: _Line) -> None:
        data = _encoded(line)
        if self._descriptor < 0:
            raise DiskTrouble(f"{self._path}: not open")
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self.close()  # a torn line may stand at its end
            raise self._trouble(error) from error
        self._bytes += len(data)
        if self._sync_at is None:
            self._sync_at = self._monotonic() + _SYNC_SECONDS

    def _turn_over(self, record: Record) -> None:
        """Begin a new one beside the old one, which keeps the keys of the last minutes."""
        self.sync()
        self.close()
        try:
            fresh = self._path.with_name(self._path.name + _NEW)
            fresh.unlink(missing_ok=True)
            write_new(fresh, _encoded(self._head) + _encoded(Adopted(record=record)))
            self._path.replace(self._path.with_name(self._path.name + _OLD))
            fresh.replace(self._path)
            sync_directory(self._path.parent)
            self._open()
        except OSError as error:
            raise self._trouble(error) from error

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._bytes = os.fstat(self._descriptor).st_size
        self._sync_at = None

    def _trouble(self, error: OSError) -> DiskTrouble:
        return DiskTrouble(f"{self._path}: {error.strerror}")


def _encoded(line: _Line) -> bytes:
    content = _encode(line)
    return b"%08x %b\n" % (zlib.crc32(content), content)


def _lines(path: Path, consumer: str, directory_id: str) -> Iterator[_Line]:
    """Yield the lines of a journal that are whole; none where the head is not that of this consumer and directory."""
    try:
        content = regular.content(path)
    except FileNotFoundError:
        return
    lines = [_decoded(line) for line in content.split(b"\n")[:-1]]
    if torn := lines.count(None):
        event(_log, "journal.torn", logging.WARNING, file=path, lines=torn)
    whole = [line for line in lines if line is not None]
    if not whole or whole[0] != Head(directory=directory_id, consumer=consumer):
        event(_log, "journal.foreign", logging.WARNING, file=path, expected_directory=directory_id)
        return
    yield from whole


def _decoded(line: bytes) -> _Line | None:
    """Return a line, None where it is torn or not one of ours."""
    checksum, _, content = line.partition(b" ")
    try:
        return _decoder.decode(content) if int(checksum, 16) == zlib.crc32(content) else None
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None


def _recent(window: Sequence[Written]) -> Sequence[Written]:
    """Return what was written in the last minutes before the newest of it, whatever the clock says now.

    A clock that is set ahead between two lines counts for little, and one that is set back for nothing: better too much
    is remembered than too little.
    """
    kept: list[Written] = []
    passed_ms = 0
    for each in reversed(window):
        if kept:
            passed_ms += min(max(kept[-1].at_ms - each.at_ms, 0), _LONGEST_STEP_MS)
        if passed_ms > _WINDOW_MS:
            break
        kept.append(each)
    return tuple(reversed(kept))
