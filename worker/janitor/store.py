"""Object storage, through obstore: put what is not there, and read back what is. Never replaces an object.

Stores differ in what they take, and no answer to a put is trusted: what is there afterwards decides, as it reads back.
An object is put on the condition that there is none of its name. A store that knows no such condition, and parts of
large objects, which come without, are put where the store has just said that there is none. Where it says neither, for
want of a permission or a feature, nothing is put. Credentials are obstore's affair: it takes them from the environment.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PermissionDeniedError
from obstore.store import LocalStore, from_url

from worker.durable import sync_directory
from worker.errors import AccountingError

_PART_BYTES = 8 << 20
_MOST_PARTS = 9_000  # S3 takes 10 000
_WHOLE_BYTES = 256 << 20  # at most so much is held in memory, where a store does not take parts
_PARTS_AT_ONCE = 2
_RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}  # the next run is the real one
_CLIENT = {
    "timeout": "120s",  # for one part, or the reading of one
    "connect_timeout": "5s",
    "allow_http": True,  # where the endpoint is configured so
}
_STATUS = re.compile(r"status code: (\d{3})")
_NOT_KNOWN = {400, 501}  # what stores answer that do not know a header
_NO_PARTS = {400, 405, 501}
_NO_ETAG, _NO_RANGE = "ETag Header missing", "non-partial response"


class StoreTrouble(AccountingError):
    """The object store cannot be used now; the message says why."""


class Found(NamedTuple):
    """An object as it was read back."""

    bytes: int
    sha256: str  # empty: it was not read


class Head(NamedTuple):
    """An object as the store describes it."""

    bytes: int
    etag: str | None  # another one tells of another content; not every store has it


def directory_of(url: str) -> Path | None:
    """Return the directory that a `file:` URL leads to; None for any other."""
    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None


class ObjectStore:
    """Where an `archive_url` leads."""

    def __init__(self, url: str) -> None:
        """Take a URL such as s3://bucket/prefix or file:///directory; nothing is asked of the store yet."""
        self.url = url.rstrip("/")
        self._local = directory_of(self.url)
        self._knows_conditions = True
        with _told():
            self._store = (
                LocalStore(self._local, mkdir=True)
                if self._local
                else from_url(self.url, client_options=_CLIENT, retry_config=_RETRY)  # type: ignore[call-overload]
            )

    def path_of(self, key: str) -> Path | None:
        """Return where an object stands on this machine; None where that is nowhere."""
        return self._local / key if self._local else None

    def put(self, key: str, source: Path | bytes) -> None:
        """Put an object where there is none; one that is there stays as it is.

        Raises StoreTrouble, also where it is not sure whether the object is there by now, and OSError.
        """
        with _told():
            is_there = self._has(key)
            if not is_there:
                self._put(key, source, is_free=is_there is False)
        if self._local:
            _make_durable(self._local, key)

    def head(self, key: str) -> Head | None:
        """Return what the store says of an object; None where there is none. Raises StoreTrouble."""
        with _told():
            return self._head(key)

    def read_back(self, key: str, expected_bytes: int) -> tuple[Found, Head] | None:
        """Return what an object holds, read in parts; None where there is none. Raises StoreTrouble.

        One of another size is not read: its digest is empty.
        """
        with _told():
            head = self._head(key)
            if head is None:
                return None
            if head.bytes != expected_bytes:
                return Found(head.bytes, ""), head
            digest, length = hashlib.sha256(), 0
            for part in self._parts(key, head.bytes):
                digest.update(part)
                length += len(part)
            if length != head.bytes or self._head(key) != head:
                raise StoreTrouble(f"{self.url}/{key}: changed while it was read, or is not what the store says")
            return Found(length, digest.hexdigest()), head

    def read(self, key: str, most_bytes: int) -> bytes | None:
        """Return a small object; None where there is none, or a larger one. Raises StoreTrouble."""
        with _told():
            head = self._head(key)
            if head is None or head.bytes > most_bytes:
                return None
            return b"".join(self._parts(key, head.bytes))

    def _has(self, key: str) -> bool | None:
        """Tell whether there is an object; None where the store does not say.

        S3 answers 403 for an object that is not there to who may not list the bucket.
        """
        try:
            return self._head(key) is not None
        except PermissionDeniedError:
            return None

    def _head(self, key: str) -> Head | None:
        try:
            meta = obstore.head(self._store, key)
        except FileNotFoundError:
            return None
        return Head(int(meta["size"]), meta.get("e_tag"))

    def _put(self, key: str, source: Path | bytes, *, is_free: bool) -> None:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > _PART_BYTES and is_free:
            part_bytes = max(_PART_BYTES, -(-size // _MOST_PARTS))
            try:
                obstore.put(self._store, key, source, chunk_size=part_bytes, max_concurrency=_PARTS_AT_ONCE)
            except BaseError as error:
                if size > _WHOLE_BYTES or not (_status(error) in _NO_PARTS or _NO_ETAG in str(error)):
                    raise
            else:
                return
        if size > _WHOLE_BYTES:
            raise StoreTrouble(
                f"{self.url}/{key}: the store does not say whether it is there (403), and {size:,} bytes are too many "
                "to be put on that condition: expected the permission to list, such as s3:ListBucket"
            )
        self._put_whole(key, source if isinstance(source, bytes) else source.read_bytes(), is_free=is_free)

    def _put_whole(self, key: str, content: bytes, *, is_free: bool) -> None:
        if self._knows_conditions or not is_free:
            try:
                obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return
            except BaseError as error:
                if not (isinstance(error, NotSupportedError) or _status(error) in _NOT_KNOWN):
                    raise
                if not is_free:
                    raise StoreTrouble(
                        f"{self.url}/{key}: the store does not say whether it is there (403), and takes no put on the "
                        "condition that it is not: expected the permission to list, such as s3:ListBucket"
                    ) from error
            else:
                return
        obstore.put(self._store, key, content, use_multipart=False)
        self._knows_conditions = False

    def _parts(self, key: str, size: int) -> Iterator[bytes]:
        """Yield what an object holds, in parts; at once from a store that knows no ranges."""
        for start in range(0, size, _PART_BYTES):
            try:
                part = obstore.get_range(self._store, key, start=start, length=min(_PART_BYTES, size - start))
            except BaseError as error:
                if start or _NO_RANGE not in str(error):
                    raise
                yield from self._stream(key, size)
                return
            yield bytes(part)

    def _stream(self, key: str, size: int) -> Iterator[bytes]:
        """Yield what an object holds, in one reading, as far as it was said to be long."""
        left = size
        for part in obstore.get(self._store, key).stream(min_chunk_size=_PART_BYTES):
            yield bytes(part)
            left -= len(part)
            if left < 0:
                return


def _status(error: Exception) -> int | None:
    """Return the status of HTTP that an error tells of; obstore has it in the text alone."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


@contextmanager
def _told() -> Iterator[None]:
    """Turn what obstore raises into StoreTrouble, in one short line."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise StoreTrouble(_first_line(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of obstore, which has it in no module; it is no Exception
            raise
        raise StoreTrouble(f"obstore gave up, is the endpoint a URL? {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


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
