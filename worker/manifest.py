"""Manifests: what a sealed accounting file holds, as it stands beside it in `<name>.json`. Pure.

`rows`, `bytes` and `sha256` describe the file as it was sealed. Later steps add to the manifest, and change none of
these: a compressed file is what it was before, once it is decompressed. There is one exception: a file that an address
was taken out of has other bytes from then on, under another name; `forgotten` tells why, and what they were.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from worker.fields import Count, FileName, SeriesId, Sha256, StreamId


class Compressed(Struct, frozen=True, kw_only=True):
    """The compressed form that stands in the place of a sealed file."""

    name: FileName  # the file's with `.zst` or `.gz`
    bytes: Count
    sha256: Sha256


class Uploaded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The copy in object storage, as it was read back."""

    url: str
    at_ms: Count
    etag: str | None = None  # as the store gave it then


class Forgotten(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address that was taken out of a sealed file (`haraka-accounting forget`), and what the file was before."""

    at_ms: Count
    reason: str
    note: FileName  # in `<path>/forgotten/`
    rows: Count  # that were changed
    salt: str
    digest: Sha256  # of the address (`worker.erasure.digest`), so that an audit knows which rows were changed, and how
    bytes: Count  # before
    sha256: Sha256
    copy: str | None = None  # in object storage, with the address; by URL


class Manifest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a sealed file holds."""

    name: FileName
    type: str
    rows: Count
    bytes: Count  # the header included
    sha256: Sha256
    columns: Sequence[str]
    opened_ms: Count
    first_id: StreamId | None  # lowest and highest stream id of an entry with rows here
    last_id: StreamId | None
    first_time_ms: Count | None  # earliest and latest timeLogged
    last_time_ms: Count | None
    writer: str  # consumer name
    directory: str  # directory id
    reason: str  # of the rotation
    version: str  # of the software
    format: str
    separator: str
    timezone: str | None = None  # in which instants are written; not told by early versions
    guarded: bool = False  # values that a spreadsheet would take for formulas have a quote in front
    sealed_ms: Count | None = None  # by the worker's clock; not told by early versions, nor by replays
    series: SeriesId | None = None  # id; not told by early versions, nor by replays
    compressed: Compressed | None = None
    uploaded: Uploaded | None = None
    forgotten: Sequence[Forgotten] = ()

    @property
    def plain_name(self) -> str:
        """Return the name of its content while that is not compressed: another one each time it was rewritten."""
        return f"{self.name}.forgotten-{len(self.forgotten)}" if self.forgotten else self.name

    @property
    def sealed_bytes(self) -> int:
        """Return how long it was when it was sealed."""
        return self.forgotten[0].bytes if self.forgotten else self.bytes


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

_FORM = re.compile(r"(?P<name>.+?)(?:\.forgotten-(?P<number>[1-9][0-9]{0,5}))?(?:\.zst|\.gz)?", re.DOTALL)


def form_of(name: str) -> tuple[str, int]:
    """Return the file that a name is a form of, and how often that form was rewritten."""
    found = _FORM.fullmatch(name)
    return (found["name"], int(found["number"] or 0)) if found else (name, 0)


_decoder = msgspec.json.Decoder(Manifest)


def decode(content: bytes, path: Path) -> Manifest:
    """Read the content of a manifest's file; raises BadManifest, which names the path."""
    try:
        manifest = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadManifest(f"{path}: not a manifest: {error}") from error
    if path.name != manifest.name + ".json":
        raise BadManifest(f"{path}: the manifest of {manifest.name!r}, expected {path.name.removesuffix('.json')!r}")
    plain = manifest.plain_name
    if manifest.compressed and manifest.compressed.name not in {plain + ending for ending in ENDINGS}:
        raise BadManifest(f"{path}: compressed is {manifest.compressed.name!r}, expected {plain}.zst or .gz")
    return manifest
