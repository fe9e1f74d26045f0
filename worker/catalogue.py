"""The catalogue of expired files: their manifests, kept for ever in `<location>/.catalogue.jsonl`, one a line.

Written by the directory's janitor alone, under its lock, before an expired file is removed; so whoever reads the
standing files first and the catalogue afterwards, as `ever_sealed` and `find` do, misses none. What survives a crash:
every line that `append` returned from. A torn last line is closed by the next one and skipped by readers; a file whose
removal was interrupted is noted, or still stands, or both.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from worker import modes, regular
from worker.durable import sync_directory, write_all
from worker.inventory import Place, sealed, sealed_file
from worker.manifest import BadManifest, Manifest

_NAME = ".catalogue.jsonl"

_decoder = msgspec.json.Decoder(Manifest)


def catalogue_path(place: Place) -> Path:
    """Return where the catalogue of a type stands."""
    return place.open / _NAME


def expired(place: Place) -> Iterator[Manifest]:
    """Yield the manifests of a type's expired files, each name once, in the order of their expiry."""
    seen: set[str] = set()
    try:
        file = regular.opened(catalogue_path(place))
    except FileNotFoundError:
        return
    with file:
        for line in regular.lines(file, file.name):
            manifest = _read(line)
            if manifest is not None and manifest.name not in seen:
                seen.add(manifest.name)
                yield manifest


def ever_sealed(place: Place, bad: list[BadManifest] | None = None) -> Iterator[Manifest]:
    """Yield the manifest of every file of a type that was ever sealed and is known, each name once.

    Safe while workers and the janitor are at work: a file that expires meanwhile is yielded all the same. `bad` is
    as in `sealed`.
    """
    standing = {stored.path.name: stored.manifest for stored in sealed(place, bad)}
    yield from (manifest for manifest in standing.values() if manifest is not None)
    yield from (manifest for manifest in expired(place) if manifest.name not in standing)


def find(place: Place, name: str) -> Manifest | None:
    """Return the manifest of a file that was ever sealed, None where none is known. Raises BadManifest."""
    if stored := sealed_file(place, name):
        return stored.manifest
    return next((manifest for manifest in expired(place) if manifest.name == name), None)


def append(place: Place, manifests: Sequence[Manifest]) -> None:
    """Note manifests durably; only for the holder of the janitor's lock. Raises OSError, and DiskTrouble."""
    path = catalogue_path(place)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, modes.FILE)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        lines = b"".join(msgspec.json.encode(manifest) + b"\n" for manifest in manifests)
        write_all(descriptor, b"\n" * torn + lines)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(path.parent)


def _read(line: bytes) -> Manifest | None:
    """Read a line; None where a crash tore it."""
    try:
        return _decoder.decode(line) if line.endswith(b"\n") else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
