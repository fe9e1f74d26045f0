"""Copies: a directory's files in object storage, made, and proven before the file itself may go.

The key is the file's location and its content's name. The manifest here tells where the copy is; the one in the store
describes the content. What died half-way is put again: the same bytes. A copy counts for the store that is configured
now: where that is another one than it was, or was emptied, the file is uploaded again before it goes.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from worker.inventory import Place, Stored
from worker.janitor import durable
from worker.janitor.elsewhere import Elsewhere
from worker.janitor.held import Unfit, held, require_as_sealed
from worker.janitor.store import Found, Head, ObjectStore, StoreTrouble
from worker.log import event
from worker.manifest import BadManifest, Manifest, Uploaded, decode, encode, manifest_path

_log = logging.getLogger("worker.janitor")

_MANIFEST_BYTES = 1 << 20  # at most


class Copies:
    """The copies in one store."""

    def __init__(self, store: ObjectStore, elsewhere: Elsewhere, directory: Path, wall_ms: Callable[[], int]) -> None:
        """Take the store, what guards the directory against it, and the directory."""
        self._store = store
        self._elsewhere = elsewhere
        self._directory = directory
        self._wall_ms = wall_ms

    def make(self, stored: Stored, place: Place) -> Stored:
        """Upload a sealed file and its manifest, and return it with its manifest of then.

        Raises Busy, StoreTrouble, OSError, DiskTrouble, or Unfit where the file is not as it was sealed, or the store
        has another object of that name.
        """
        require_as_sealed(stored)
        manifest = _manifest_of(stored)
        form = manifest.compressed or manifest
        location = str(place.open.relative_to(self._directory))
        key = f"{location}/{stored.content_path.name}"
        head = self._deposit(key, stored.content_path, Found(form.bytes, form.sha256))
        self._describe(location, manifest)
        uploaded = Uploaded(url=f"{self._store.url}/{key}", at_ms=self._wall_ms(), etag=head.etag)
        manifest = msgspec.structs.replace(manifest, uploaded=uploaded)
        with held(stored, place):
            durable.replace(manifest_path(stored.path), encode(manifest))
        event(_log, "file.uploaded", file=stored.content_path, url=uploaded.url)
        return stored._replace(manifest=manifest)

    def prove(self, stored: Stored, place: Place) -> Stored:
        """Return a sealed file once the store has it now: it says so, or has it again. Raises what `make` raises."""
        uploaded = _manifest_of(stored).uploaded
        key = self._key_of(stored)
        if uploaded and key is not None:
            if self._has(key, stored, uploaded.etag):
                self._describe(key.rpartition("/")[0], _manifest_of(stored))
                return stored
            event(_log, "copy.missing", logging.WARNING, file=stored.content_path, url=uploaded.url)
        return self.make(stored, place)

    def require_without(self, stored: Stored, aside: Path) -> None:
        """Raise StoreTrouble where the store has a file no more once it is away from its name: it was the file itself.

        Raises OSError.
        """
        manifest, key = _manifest_of(stored), self._key_of(stored)
        form = manifest.compressed or manifest
        if key is not None and (path := self._store.path_of(key)):
            self._elsewhere.require_copy(path, aside)
            self._require_content(key, Found(form.bytes, form.sha256))  # a name can be known longer than it is there
            return
        head = self._store.head(key) if key is not None else None
        if head is None or head.bytes != form.bytes:
            raise StoreTrouble(f"the copy of {stored.content_path} is gone once the file is away from its name")

    def _key_of(self, stored: Stored) -> str | None:
        """Return where in this store a file's copy is; None where it is in none, or in another store."""
        uploaded = _manifest_of(stored).uploaded
        prefix = f"{self._store.url}/"
        return uploaded.url.removeprefix(prefix) if uploaded and uploaded.url.startswith(prefix) else None

    def _has(self, key: str, stored: Stored, etag: str | None) -> bool:
        """Tell whether the store has the copy; raises Unfit where it has something else there."""
        self._require_copy(key, stored.content_path)
        manifest = _manifest_of(stored)
        form = manifest.compressed or manifest
        head = self._store.head(key)
        if head is None:
            return False
        if (head.bytes, head.etag) == (form.bytes, etag) and etag and not self._store.path_of(key):
            return True
        self._require_content(key, Found(form.bytes, form.sha256))
        return True

    def _deposit(self, key: str, source: Path, expected: Found) -> Head:
        """Put an object, and read it back: that alone tells whether it is there."""
        self._require_copy(key, source)
        trouble = None
        try:
            self._store.put(key, source)
        except StoreTrouble as error:
            trouble = error
        try:
            return self._require_content(key, expected)
        except StoreTrouble:
            if trouble:
                raise trouble from None
            raise

    def _require_copy(self, key: str, original: Path) -> None:
        if path := self._store.path_of(key):
            self._elsewhere.require_copy(path, original)

    def _require_content(self, key: str, expected: Found) -> Head:
        """Return what the store says of an object that holds this; raises Unfit for another, StoreTrouble for none."""
        back = self._store.read_back(key, expected.bytes)
        if back is None:
            raise StoreTrouble(f"{self._store.url}/{key}: is not there, though the store took it or says so")
        found, head = back
        if found != expected:
            what = f"{head.bytes} bytes, sha256 {found.sha256}" if found.sha256 else f"{head.bytes} bytes"
            url = f"{self._store.url}/{key}"
            raise Unfit(f"{url} holds {what}; expected {expected.bytes} bytes, sha256 {expected.sha256}")
        return head

    def _describe(self, location: str, manifest: Manifest) -> None:
        """Put the manifest beside the copy; one that says the same of the content, by another version, will do."""
        key = f"{location}/{manifest.plain_name}.json"  # beside that of what the file was before, if it was rewritten
        described = encode(msgspec.structs.replace(manifest, uploaded=None))
        trouble = None
        try:
            self._store.put(key, described)
        except StoreTrouble as error:
            trouble = error
        found = self._store.read(key, _MANIFEST_BYTES)
        if found is None:
            raise trouble or StoreTrouble(f"{self._store.url}/{key}: is not there, though the store took it")
        if not _describes(found, manifest):
            sha256 = hashlib.sha256(found).hexdigest()
            raise Unfit(f"{self._store.url}/{key} holds {len(found)} bytes, sha256 {sha256}: not this file's manifest")


def _manifest_of(stored: Stored) -> Manifest:
    assert stored.manifest is not None  # noqa: S101  # only sealed files come here
    return stored.manifest


def _describes(content: bytes, manifest: Manifest) -> bool:
    """Tell whether a manifest describes the same content as another one."""
    try:
        found = decode(content, Path(f"{manifest.name}.json"))
    except BadManifest:
        return False
    facts = [(each.type, each.rows, each.bytes, each.sha256, each.directory) for each in (found, manifest)]
    return facts[0] == facts[1]
