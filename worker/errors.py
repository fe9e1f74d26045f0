"""What can go wrong, named by the decision that it calls for, and the exit codes.

A subclass's docstring is its message where none is given.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `haraka-accounting` (docs/operations.md); 2 is click's for a wrong command line."""

    OK = 0
    FAILED = 1  # looked, and the answer is no: nothing found, something differs, not done
    SERVER_REFUSED = 69  # this server must not be used (eviction policy, group lost)
    BUG = 70  # nothing that anybody expected
    LOCKED = 73  # another process works under this name in this directory
    UNAVAILABLE = 74  # could not look: the server or the disk did not answer, or did not stand still
    NAME_TAKEN = 75  # another directory works under this name
    DIRECTORY_REFUSED = 76  # a copy of the directory, or one that is not what was expected here
    CONFIGURATION = 78  # the ini, or a directory of another partition


class AccountingError(Exception):
    """Something went wrong."""

    exit_code = ExitCode.FAILED

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class StreamUnavailable(AccountingError):
    """The server cannot be reached or does not answer as it should: back off, then recover."""

    exit_code = ExitCode.UNAVAILABLE


class NameHeld(StreamUnavailable):
    """A live worker in another directory has this consumer's name: wait until its lease is gone."""


class Fenced(AccountingError):
    """Another registration holds this consumer's name: register again, then compare batches."""


class Behind(AccountingError):
    """The server has lost commits that it had acknowledged: register again, then restore."""


class DiskTrouble(AccountingError):
    """An accounting file could not be written or made durable: cut back, pause, recover."""

    exit_code = ExitCode.UNAVAILABLE


class FileBusy(AccountingError):
    """Another process has a file of this worker, most likely to seal it: back off, then recover."""


class Unreadable(AccountingError):
    """What a command is to look at is not there, or cannot be read."""

    exit_code = ExitCode.UNAVAILABLE


class NameTaken(AccountingError):
    """Another process, with another directory, works under this consumer name."""

    exit_code = ExitCode.NAME_TAKEN


class Locked(AccountingError):
    """Another process works under this consumer name in this directory."""

    exit_code = ExitCode.LOCKED


class OtherPartition(AccountingError):
    """The directory holds the files of another partition."""

    exit_code = ExitCode.CONFIGURATION


class PlaceTaken(AccountingError):
    """Files of another type stand, or stood, where the files of a type are to stand."""

    exit_code = ExitCode.CONFIGURATION


class DirectoryRefused(AccountingError):
    """The directory is a copy of one that is at work, or not the one that is expected: a person has to say which."""

    exit_code = ExitCode.DIRECTORY_REFUSED


class DirectoryAtWork(StreamUnavailable):
    """A consumer of this directory is at work, and not here: wait until its lease is gone."""

    def __init__(self, consumer: str, holder: str) -> None:
        super().__init__(
            f"consumer {consumer} of this directory is at work, and not here, or was until now: waiting for its lease"
        )
        self.consumer = consumer
        self.holder = holder  # as its lease tells


class Taken(AccountingError):
    """Entries in hand are not this consumer's any more: register again, then read what is."""


class AlreadyWritten(AccountingError):
    """Entries of a commit have rows, and came again because the server forgot: commit without those."""

    def __init__(self, keys: Mapping[str, AbstractSet[str]]) -> None:
        super().__init__()
        self.keys = keys  # by type


class ServerRefused(AccountingError):
    """The server must not be used as it stands."""

    exit_code = ExitCode.SERVER_REFUSED


class ServerNotStarted(AccountingError):
    """The bundled server did not start."""
