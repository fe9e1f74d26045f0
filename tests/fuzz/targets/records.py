"""Commit records: what stands on the server is a record that reads back as it is, or refused."""

from msgspec import DecodeError

from worker import records
from worker.errors import ServerRefused


def check(data: bytes) -> None:
    """Read a record, go on from it, and read that."""
    try:
        found = records.decode(data)
    except (DecodeError, ServerRefused):
        return
    assert found is not None
    assert records.decode(records.encode(found)) == found
    following = found.next(files={}, closing=[])
    assert following.batch == found.batch + 1
    assert not following.file_names
    assert isinstance(found.is_retired, bool)
