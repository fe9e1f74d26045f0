"""Findings: what does not add up, as it is told. Pure."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from worker.errors import AccountingError, ExitCode


class NotAudited(AccountingError):
    """The audit could not be finished."""

    exit_code = ExitCode.UNAVAILABLE


class Kind(StrEnum):
    """What was found; docs/audit.md says what to do about each."""

    EVENTS = "events"  # more or fewer events went somewhere than came
    LETTERS = "letters"  # dead letters came or went without being counted
    LOST = "lost"  # trimmed before they were read, or given up by Haraka's nodes
    ORDER = "order"  # running numbers of entries do not rise: somebody copied them
    UNREADABLE = "unreadable"  # a field of the server does not hold what workers write there
    LATE = "late"  # a consumer's rows were handed in after reading had gone on
    FORGOTTEN = "forgotten"  # the server knows less than a journal
    UNSEEN = "unseen"  # rows were committed in a directory that cannot be seen from here
    SUPERSEDED = "superseded"  # another copy of the directory was started since
    IDENTITY = "identity"  # accounting files whose directory has lost what says who it is
    MOUNT = "mount"  # a volume of the directory is not mounted
    ROWS = "rows"  # more or fewer rows stand in a directory than were committed there
    ASIDE = "set aside"  # a note on rows that were committed and are not, or not whole, in a file that counts
    DOUBT = "in doubt"  # rows in recovered/, of which nobody knows whether they were acknowledged
    MANIFEST = "manifest"  # cannot be read
    FILE_MISSING = "file missing"
    FILE_SIZE = "file size"
    FILE_UNREADABLE = "file unreadable"
    FILE_ALTERED = "file altered"  # other bytes than were sealed, where rows cannot be told one by one
    HEADER = "header"
    ROW_MISSING = "row missing"
    ROW_DOUBLED = "row doubled"
    ROW_ALTERED = "row altered"
    ROW_UNEXPECTED = "row unexpected"


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that does not add up."""

    kind: Kind
    text: str  # for people; may hold what others wrote
    type: str | None = None
    directory: str | None = None  # id
    file: str | None = None
    count: int | None = None  # of events or rows
    entry: str | None = None  # stream id
    event: int | None = None  # index in the entry
    rcpt: str | None = None
    lines: Sequence[int] | None = None  # in the file; of a doubled row, in all files that `text` names
    columns: Sequence[str] | None = None  # that were altered
    consumer: str | None = None
    bytes: int | None = None  # that a file has
    sha256: str | None = None  # of what stands there: a note, rows in doubt, a file or row that was altered
