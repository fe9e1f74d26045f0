"""Object storage, through obstore: put what is not there, and read back what is. Never replaces an object.

Small objects are put on the condition that there is none of that name; where a store has no such condition, and for
large ones (in parts), it is asked before. Credentials are obstore's affair: it takes them from the environment.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import LocalStore, from_url

from worker.durable import sync_directory
from worker.errors import AccountingError

_PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 2
_RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}  # the next run is the real one
_CLIENT = {
    "timeout": "60s",  # for one part, or the reading of one
    "connect_timeout": "5s",
    "allow_http": True,  # where the endpoint is configured so
}


class StoreTrouble(AccountingError):
    """The object store cannot be used now; the message says why."""


class Found(NamedTuple):
    """An object as it was read back."""

    bytes: int
    sha256: str


class ObjectStore:
    """Where an `archive_url` leads."""

    def __init__(self, url: str) -> None:
        """Take a URL such as s3://bucket/prefix or file:///directory; nothing is asked of the store yet."""
        self.url = url.rstrip("/")
        self._local = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        with _told():
            self._store = (
                LocalStore(self._local, mkdir=True)
                if self._local
                else from_url(self.url, client_options=_CLIENT, retry_config=_RETRY)  # type: ignore[call-overload]
            )

    def put(self, key: str, source: Path | bytes) -> None:
        """Put an object where there is none; one that is there stays as it is. Raises StoreTrouble, OSError."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        with _told():
            if self._has(key):
                return
            if size > _PART_BYTES:
                obstore.put(self._store, key, source, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
            else:
                self._put_whole(key, source if isinstance(source, bytes) else source.read_bytes())
        if self._local:
            _make_durable(self._local, key)

    def read_back(self, key: str) -> Found | None:
        """Return what an object holds, read in parts; None where there is none. Raises StoreTrouble."""
        with _told():
            try:
                size = int(obstore.head(self._store, key)["size"])
            except FileNotFoundError:
                return None
            digest = hashlib.sha256()
            for start in range(0, size, _PART_BYTES):
                length = min(_PART_BYTES, size - start)
                digest.update(obstore.get_range(self._store, key, start=start, length=length))
            return Found(size, digest.hexdigest())

    def _has(self, key: str) -> bool:
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def _put_whole(self, key: str, content: bytes) -> None:
        try:
            obstore.put(self._store, key, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return
        except NotSupportedError:
            obstore.put(self._store, key, content, use_multipart=False)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what obstore raises into StoreTrouble, in one short line."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StoreTrouble(first_line[:300]) from error


def _make_durable(root: Path, key: str) -> None:
    """Make a file of a `file:` store durable: obstore leaves that to the kernel."""
    path = root / key
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    for directory in path.parents:
        sync_directory(directory)
        if directory == root:
            break
