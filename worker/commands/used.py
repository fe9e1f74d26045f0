"""The directory of accounting files that a command looks into: whose it is."""

from pathlib import Path

from worker.errors import Unreadable
from worker.identity import known_id


def used_id(path: Path) -> str | None:
    """Return the id of a directory, None where no worker has used it. Raises OSError, and Unreadable for no id."""
    try:
        return known_id(path)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}/.directory-id: holds no id of a directory") from error
