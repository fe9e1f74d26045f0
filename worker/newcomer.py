"""A path where no directory of accounting files stands: new, or emptied, or its volume is not mounted (section 6).

The server tells: it knows where each directory was started last. So it is asked before anything is made there.
"""

import socket
from datetime import UTC, datetime
from pathlib import Path

from worker import evidence, identity
from worker.errors import DirectoryRefused, StreamUnavailable
from worker.patience import Patience, Pauses
from worker.settings import DirectorySettings
from worker.stream import Connector
from worker.stream.directories import Claimed, claimed


def require_new(settings: DirectorySettings, connect: Connector, partition: str, pauses: Pauses) -> None:
    """Return where a directory stands, or none has ever been; waits for the server where it has to be asked.

    Raises DirectoryRefused where one has been on this host and path, DiskTrouble, OSError.
    """
    if identity.read(settings.path) is not None or evidence.directory_ids(settings):
        return
    patience = Patience(pauses, lambda: False)
    while True:
        try:
            known = claimed(connect, partition)
        except StreamUnavailable as error:
            patience.wait_out(error)
        else:
            patience.went_well()
            break
    for each in known.values():
        if is_here(each, settings.path):
            raise DirectoryRefused(_emptied(settings.path, each))


def is_here(known: Claimed, path: Path) -> bool:
    """Tell whether a directory was started last on this host and path."""
    return (known.host, known.path) == (socket.gethostname(), str(path))


def _emptied(path: Path, known: Claimed) -> str:
    at = datetime.fromtimestamp(known.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return (
        f"{path}: the directory {known.directory} was started here on {at}, and nothing of it stands here: is its "
        "volume mounted? Nothing was made here. To begin anew without its files: haraka-accounting directory new"
    )
