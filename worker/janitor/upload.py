"""Upload: a sealed file as it stands, and its manifest, to object storage, read back before they count.

The key is the type's location and the file's name. The manifest here then tells where the copy is; the one in the
store is the one from before, which describes the content. What died half-way is put again: the same bytes.
"""

import hashlib
from pathlib import Path

import msgspec

from worker.inventory import Place, Stored
from worker.janitor import durable
from worker.janitor.held import Unfit, held
from worker.janitor.store import Found, ObjectStore
from worker.manifest import Uploaded, encode, manifest_path


def upload(stored: Stored, place: Place, location: str, store: ObjectStore, now_ms: int) -> Stored:
    """Upload a sealed file and return it with its manifest of then.

    Raises Busy, StoreTrouble, OSError, DiskTrouble, or Unfit where the store has another object of that name.
    """
    manifest = stored.manifest
    assert manifest is not None  # noqa: S101  # only sealed files come here
    form = manifest.compressed or manifest
    key = f"{location}/{form.name}"
    _deposit(store, key, stored.content_path, Found(form.bytes, form.sha256))
    described = encode(manifest)
    beside = Found(len(described), hashlib.sha256(described).hexdigest())
    _deposit(store, f"{location}/{manifest.name}.json", described, beside)
    manifest = msgspec.structs.replace(manifest, uploaded=Uploaded(url=f"{store.url}/{key}", at_ms=now_ms))
    with held(stored, place):
        durable.replace(manifest_path(stored.path), encode(manifest))
    return stored._replace(manifest=manifest)


def _deposit(store: ObjectStore, key: str, source: Path | bytes, expected: Found) -> None:
    """Put one object, and read it back."""
    store.put(key, source)
    found = store.read_back(key)
    if found != expected:
        what = f"{found.bytes} bytes, sha256 {found.sha256}" if found else "nothing"
        raise Unfit(f"{store.url}/{key} holds {what}; expected {expected.bytes} bytes, sha256 {expected.sha256}")
