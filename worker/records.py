"""Commit records: what the server remembers of a consumer's files in one directory (design section 3).

Pure. A record is stored by the commit script in the same step that acknowledges the entries whose rows it counts, so
it is the one place that tells how much of an accounting file is committed.
"""

import msgspec
from msgspec import Struct


class FileState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An accounting file as far as it is committed."""

    name: str
    inode: int
    length: int  # bytes, the header included
    rows: int = 0
    opened_ms: int
    first_id: str | None = None  # lowest and highest stream id of an entry with rows here
    last_id: str | None = None
    first_time_ms: int | None = None  # earliest and latest timeLogged
    last_time_ms: int | None = None
    sha256: str | None = None  # of the committed bytes; not told by early versions
    series: str | None = None  # id of the series that the file was born into; not told by early versions


class Closing(Struct, frozen=True, kw_only=True):
    """A file that was rotated but is not sealed yet."""

    event_type: str
    reason: str
    file: FileState


class Record(Struct, frozen=True, kw_only=True):
    """The commit record of (consumer, directory). `batch` counts commits, `total` rows; neither ever goes back."""

    batch: int = 0
    committed_ms: int | None = None  # by the worker's clock, for people to read
    through: dict[str, str] = {}  # by type: what the consumer was given is acknowledged through this stream id
    files: dict[str, FileState] = {}
    closing: list[Closing] = []
    total: dict[str, int] = {}  # by type: rows that this consumer ever committed in this directory

    @property
    def is_retired(self) -> bool:
        """Tell whether this is what is left of the record of a consumer that was retired."""
        return self.committed_ms is None and not self.through

    @property
    def file_names(self) -> set[str]:
        """Return the names of all files that it names, whatever their types."""
        return {state.name for state in (*self.files.values(), *(each.file for each in self.closing))}

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

    Raises msgspec.DecodeError for what this version did not write.
    """
    try:
        return None if stored is None else _decoder.decode(stored)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
