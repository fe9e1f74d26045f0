"""Who a directory of accounting files is: a random id, and the one partition whose files it holds.

Both are made by the first worker that comes, durably, and never changed. How far a file counts is told by a commit
record of that partition, under that id: a worker of another partition would find no record of its files there, and
take committed rows for rows that nobody acknowledged.
"""

import os
import secrets
from pathlib import Path

from worker.accounting_file import sync_directory, write_durably
from worker.errors import DiskTrouble, OtherPartition

_ID = ".directory-id"
_PARTITION = ".partition"


def known_id(path: Path) -> str | None:
    """Return the random id of a directory; None where no worker has used it yet. Raises OSError, UnicodeDecodeError."""
    stored = _stored(path / _ID)
    return stored.decode("ascii") if stored else None


def require_partition(path: Path, partition: str) -> None:
    """Raise OtherPartition where a directory holds the files of another one; new ones hold none yet. Raises OSError."""
    stored = _stored(path / _PARTITION)
    if stored not in {None, partition.encode()}:
        bound = (stored or b"").decode("utf-8", "replace")
        raise OtherPartition(
            f"{path}: holds the files of partition {bound}, and not of {partition}: "
            "expected a path of its own for each partition"
        )


def identify(path: Path, partition: str) -> str:
    """Return the id of a directory, made at its first use, and bind the directory to its partition.

    One without a partition gets the first that comes. Raises OtherPartition, OSError and DiskTrouble.
    """
    directory_id = _made_once(path / _ID, secrets.token_hex(8))
    if not directory_id:
        raise DiskTrouble(f"{path / _ID}: is empty")
    _made_once(path / _PARTITION, partition)
    require_partition(path, partition)
    return directory_id


def _made_once(file: Path, content: str) -> str:
    """Return what a file holds; one that is not there is made, and never replaces that of a worker that was quicker."""
    stored = _stored(file)
    while stored is None:
        fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        write_durably(fresh, f"{content}\n".encode())
        try:
            os.link(fresh, file)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        sync_directory(file.parent)
        stored = _stored(file)
    return stored.decode("utf-8", "replace")


def _stored(file: Path) -> bytes | None:
    try:
        return file.read_bytes().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
