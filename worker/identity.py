"""Who a directory of accounting files is: `<path>/accounting.id` (design section 6).

A random id under which the server knows how far the files count, the one partition whose files they are, and the token
under which the directory was started last. The server has the token too. A copy of a directory has the same id and
token, and whoever of the two is started claims the next token: so the other one finds that it was superseded, and goes
no further. Made by the first worker that comes, durably; what other versions wrote is taken over.
"""

import re
import secrets
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from msgspec import Struct

from worker import regular
from worker.durable import sync_directory, write_durably, write_new
from worker.errors import DiskTrouble, OtherPartition
from worker.locks import held

NAME = "accounting.id"  # no dot: `mv *` takes it along
_LOCK = ".accounting.id-lock"  # a name that no lock of a consumer has
_OLD_ID, _OLD_PARTITION = ".directory-id", ".partition"  # of early versions, which can be started again


class Token(Struct, frozen=True):
    """What tells one start of a directory from every other one, also of its copies."""

    number: int = 0
    random: str = "-"

    def __str__(self) -> str:
        return f"{self.number} {self.random}"

    def successor(self) -> "Token":
        """Return a token that nobody else can draw."""
        return Token(self.number + 1, secrets.token_hex(8))


class Identity(Struct, frozen=True, kw_only=True):
    """What `accounting.id` says."""

    directory: str
    partition: str
    current: Token = Token()
    next: Token = Token()  # one that may have been claimed; without a pending claim the current one
    mounts: tuple[str, ...] = ()  # places, relative to the directory, that were on another device than it


class NotAnIdentity(DiskTrouble):
    """`accounting.id` is not what a worker wrote."""


_decoder = msgspec.json.Decoder(Identity)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def read(path: Path) -> Identity | None:
    """Return who a directory is; None where no worker has used it yet. Raises OSError, NotAnIdentity."""
    content = _stored(path / NAME)
    if content is not None:
        try:
            found = _decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NotAnIdentity(f"{path / NAME}: not written by a worker: {error}") from error
        require_id(found.directory, path / NAME)
        return found
    old = _stored(path / _OLD_ID)
    if not old:
        return None
    directory = old.decode("utf-8", "replace")
    require_id(directory, path / _OLD_ID)
    partition = (_stored(path / _OLD_PARTITION) or b"").decode("utf-8", "replace")
    return Identity(directory=directory, partition=partition)


def require_id(directory: str, where: Path | None = None) -> None:
    """Raise NotAnIdentity for what cannot be the id of a directory; it stands in names of keys and of folders."""
    if not _ID.fullmatch(directory) or not directory.strip("."):
        at = f"{where}: " if where else ""
        raise NotAnIdentity(f"{at}{directory!r} is no id of a directory: expected letters, digits, . _ -")


def known_id(path: Path) -> str | None:
    """Return the id of a directory; None where no worker has used it yet. Raises OSError, NotAnIdentity."""
    found = read(path)
    return found.directory if found else None


def require_partition(path: Path, partition: str) -> None:
    """Raise OtherPartition where a directory holds the files of another one; new ones hold none yet.

    Raises OSError, NotAnIdentity.
    """
    found = read(path)
    if found and found.partition not in {"", partition}:
        raise OtherPartition(
            f"{path}: holds the files of partition {found.partition}, and not of {partition}: "
            "expected a path of its own for each partition"
        )


def make(path: Path, partition: str) -> Identity:
    """Return who a directory is, after making that durable at its first use.

    Two workers that come at once make one identity. Raises OtherPartition, OSError and DiskTrouble.
    """
    with locked(path):
        found = read(path)
        if found is None or not (path / NAME).exists():
            found = found or Identity(directory=secrets.token_hex(8), partition=partition)
            write(path, msgspec.structs.replace(found, partition=found.partition or partition))
        require_partition(path, partition)
        for name, content in ((_OLD_ID, found.directory), (_OLD_PARTITION, partition)):
            if not (path / name).exists():
                write_new(path / name, f"{content}\n".encode())
        sync_directory(path)
    return msgspec.structs.replace(found, partition=partition)


def write(path: Path, identity: Identity) -> None:
    """Write who a directory is, durably; with the lock held. Raises OSError."""
    write_durably(path / NAME, msgspec.json.format(msgspec.json.encode(identity)) + b"\n")


def replace(path: Path, identity: Identity) -> None:
    """Write another identity in the place of whatever stands there; with the lock held. Raises OSError."""
    for name, content in ((_OLD_ID, identity.directory), (_OLD_PARTITION, identity.partition)):
        write_durably(path / name, f"{content}\n".encode())
    write(path, identity)


def locked(path: Path) -> AbstractContextManager[None]:
    """Be the one that changes who a directory is. Raises OSError, and DiskTrouble where another one stays it."""
    return held(path / _LOCK)


def _stored(file: Path) -> bytes | None:
    try:
        return regular.content(file).strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
