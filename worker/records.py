"""Commit records: what the server remembers of a consumer's files in one directory (design section 3).

Pure. A record is stored by the commit script in the same step that acknowledges the entries whose rows it counts, so
it is the one place that tells how much of an accounting file is committed. Whoever can write to the server can write
one too, so every field has its range.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from worker.fields import Count, EventType, FileName, SeriesId, Sha256, StreamId

LONGEST_BYTES = 1_000_000  # of a record: a worker writes a few thousand

_Reason = Annotated[str, Meta(pattern=r"\A[a-z_]{1,40}\Z")]


class FileState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An accounting file as far as it is committed."""

    name: FileName
    inode: Annotated[int, Meta(ge=0)]  # only compared; some file systems use all 64 bits
    length: Count  # bytes, the header included
    rows: Count = 0
    opened_ms: Count
    first_id: StreamId | None = None  # lowest and highest stream id of an entry with rows here
    last_id: StreamId | None = None
    first_time_ms: Count | None = None  # earliest and latest timeLogged
    last_time_ms: Count | None = None
    sha256: Sha256 | None = None  # of the committed bytes; not told by early versions
    series: SeriesId | None = None  # id of the series that the file was born into; not told by early versions


class Closing(Struct, frozen=True, kw_only=True):
    """A file that was rotated but is not sealed yet."""

    event_type: EventType
    reason: _Reason
    file: FileState


class Record(Struct, frozen=True, kw_only=True):
    """The commit record of (consumer, directory). `batch` counts commits, `total` rows; neither ever goes back."""

    batch: Count = 0
    committed_ms: Count | None = None  # by the worker's clock, for people to read
    through: dict[EventType, StreamId] = {}  # all that the consumer was given, up to there, is acknowledged
    files: dict[EventType, FileState] = {}
    closing: Annotated[list[Closing], Meta(max_length=1000)] = []
    total: dict[EventType, Count] = {}  # by type: rows that this consumer ever committed in this directory

    @property
    def is_retired(self) -> bool:
        """Tell whether this is what is left of the record of a consumer that was retired."""
        return self.committed_ms is None and not self.through

    @property
    def named(self) -> list[tuple[EventType, FileState]]:
        """Return the files that it names, with their types."""
        return [*self.files.items(), *((each.event_type, each.file) for each in self.closing)]

    def names_of(self, event_type: str) -> set[str]:
        """Return the names of the files of a type."""
        return {state.name for kind, state in self.named if kind == event_type}

    @property
    def file_names(self) -> set[str]:
        """Return the names of all files that it names, whatever their types."""
        return {state.name for _, state in self.named}

    def next(self, **changes: object) -> "Record":
        """Return the record of the next commit."""
        return msgspec.structs.replace(self, batch=self.batch + 1, **changes)


def id_order(entry_id: str) -> tuple[int, int]:
    """Return what orders stream ids."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def id_before(entry_id: str) -> str:
    """Return the id right before one, which is not the lowest."""
    milliseconds, sequence = id_order(entry_id)
    return f"{milliseconds}-{sequence - 1}" if sequence else f"{milliseconds - 1}-{2**64 - 1}"


_decoder = msgspec.json.Decoder(Record)
encode = msgspec.json.Encoder().encode


def decode(stored: bytes | None) -> Record | None:
    """Read a stored record; None where there is none.

    Raises msgspec.DecodeError, which names the field, for what no worker of this version writes.
    """
    if stored is not None and len(stored) > LONGEST_BYTES:
        raise msgspec.DecodeError(f"{len(stored)} bytes, expected at most {LONGEST_BYTES}")
    try:
        return None if stored is None else _decoder.decode(stored)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
