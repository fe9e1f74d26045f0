"""Manifests: what a sealed accounting file holds, as it stands beside it in `<name>.json`. Pure.

`rows`, `bytes` and `sha256` describe the file as it was sealed. Later steps add to the manifest, and change none of
these: a compressed file is what it was before, once it is decompressed.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct


class Compressed(Struct, frozen=True, kw_only=True):
    """The compressed form that stands in the place of a sealed file."""

    name: str  # the file's with `.zst` or `.gz`
    bytes: int
    sha256: str


class Uploaded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The copy in object storage, as it was read back."""

    url: str
    at_ms: int
    etag: str | None = None  # as the store gave it then


class Manifest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a sealed file holds."""

    name: str
    type: str
    rows: int
    bytes: int  # the header included
    sha256: str
    columns: Sequence[str]
    opened_ms: int
    first_id: str | None  # lowest and highest stream id of an entry with rows here
    last_id: str | None
    first_time_ms: int | None  # earliest and latest timeLogged
    last_time_ms: int | None
    writer: str  # consumer name
    directory: str  # directory id
    reason: str  # of the rotation
    version: str  # of the software
    format: str
    separator: str
    timezone: str | None = None  # in which instants are written; not told by early versions
    guarded: bool = False  # values that a spreadsheet would take for formulas have a quote in front
    sealed_ms: int | None = None  # by the worker's clock; not told by early versions, nor by replays
    series: str | None = None  # id; not told by early versions, nor by replays
    compressed: Compressed | None = None
    uploaded: Uploaded | None = None


class Writer(Struct, frozen=True, kw_only=True):
    """Who wrote a file, and how its rows look."""

    consumer: str
    directory: str
    version: str
    format: str
    separator: str
    timezone: str
    guarded: bool = False


class BadManifest(Exception):
    """A file that should be a manifest is none."""


def manifest_path(path: Path) -> Path:
    """Return where the manifest of an accounting file stands."""
    return path.with_name(path.name + ".json")


def encode(manifest: Manifest) -> bytes:
    """Return the content of a manifest's file."""
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


#: Endings that compression adds to a name.
ENDINGS = (".zst", ".gz")

_decoder = msgspec.json.Decoder(Manifest)


def decode(content: bytes, path: Path) -> Manifest:
    """Read the content of a manifest's file; raises BadManifest, which names the path."""
    try:
        manifest = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadManifest(f"{path}: not a manifest: {error}") from error
    if path.name != manifest.name + ".json":
        raise BadManifest(f"{path}: the manifest of {manifest.name!r}, expected {path.name.removesuffix('.json')!r}")
    if manifest.compressed and manifest.compressed.name not in {manifest.name + ending for ending in ENDINGS}:
        raise BadManifest(f"{path}: compressed is {manifest.compressed.name!r}, expected {manifest.name}.zst or .gz")
    return manifest
