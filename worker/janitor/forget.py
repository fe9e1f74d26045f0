"""Forgetting: a sealed file without an address takes the place of the one that held it, under another name.

Temporary file → fsync → read back and compared → linked → manifest replaced → the file of before unlinked. Until the
manifest says so, the old form counts; from then on the new one does, and what a death left of the other is removed by
the next run. The rows stay as many as they were; the manifest tells who asked for it, in a note, why, and what the file
was before.
"""

import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from worker import regular
from worker.durable import sync_directory
from worker.erasure.lines import Eraser
from worker.inventory import Place, Stored, contents, lines, sealed_file
from worker.janitor import compress, durable, expire, move
from worker.janitor.held import Unfit, held, require_as_sealed
from worker.manifest import (
    ENDINGS,
    BadManifest,
    Compressed,
    Forgotten,
    Manifest,
    decode,
    encode,
    form_of,
    manifest_path,
)
from worker.settings import Compression

_CHUNK_BYTES = 1 << 20
_REWRITTEN = re.compile(r"\.forgotten-[1-9][0-9]{0,5}(?:\.zst|\.gz)?$")


class Content(NamedTuple):
    """What a file will hold."""

    rows: int  # that are changed
    bytes: int
    sha256: str


def prepare(place: Place) -> None:
    """Make durable what another process did to the names of a place and died, and remove what it left half-done.

    Only for the holder of the janitor's lock. Raises OSError.
    """
    for directory in place.directories:
        if directory.is_dir():
            sync_directory(directory)
            durable.sweep(directory)
            expire.put_back(directory)
            _clear(directory)


def settled(stored: Stored, place: Place) -> Stored:
    """Return a sealed file once it stands in one form, in one directory: what was begun is finished.

    Raises Busy, Unfit, OSError, DiskTrouble.
    """
    if compress.is_begun(stored):
        stored = compress.compress(stored, place, Compression.NONE)
    here = stored.path.parent
    if here != place.open:
        _finish_move(stored, place)
    elif any(os.path.lexists(at / stored.content_path.name) for at in place.directories if at != here):
        stored = move.move(stored, place)
    return stored


def _finish_move(archived: Stored, place: Place) -> None:
    """Remove what a death left in the location of a file that is archived."""
    left = sealed_file(place._replace(archive=place.open, earlier=()), archived.path.name)
    if left and os.path.lexists(left.content_path):
        move.move(left, place)
    elif left:
        move.finish(left, place)


def measure(stored: Stored, eraser: Eraser) -> Content:
    """Return what a file will hold. Raises what reading it raises."""
    rows, size, sha256 = 0, 0, hashlib.sha256()
    for line in lines(stored):
        found = eraser.line(line)
        rows += found is not line
        size += len(found)
        sha256.update(found)
    return Content(rows, size, sha256.hexdigest())


def rewrite(stored: Stored, place: Place, eraser: Eraser, entry: Callable[[Manifest, int], Forgotten]) -> Stored:
    """Take an address out of a sealed file, and return it as it stands then; the same where the address is not there.

    `entry` tells what to write into the manifest, by the one of before and the number of changed rows. Raises Busy,
    OSError, DiskTrouble, or Unfit where the file is not what its manifest says.
    """
    stored = settled(stored, place)
    before = stored.manifest
    assert before is not None  # noqa: S101  # only sealed files come here
    require_as_sealed(stored)
    with held(stored, place):
        wanted = measure(stored, eraser)
        if not wanted.rows:
            return stored
        after = msgspec.structs.replace(
            before, bytes=wanted.bytes, sha256=wanted.sha256, compressed=None, uploaded=None,
            forgotten=[*before.forgotten, entry(before, wanted.rows)],
        )  # fmt: skip
        ending = stored.content_path.suffix if before.compressed else ""
        target = stored.path.with_name(after.plain_name + ending)
        _make(target, joined(eraser.line(line) for line in lines(stored)), wanted)
        if ending:
            form = Compressed(name=target.name, bytes=target.stat().st_size, sha256=durable.digest(target))
            after = msgspec.structs.replace(after, compressed=form)
        durable.replace(manifest_path(stored.path), encode(after))
        stored.content_path.unlink()
        sync_directory(stored.path.parent)
    return stored._replace(manifest=after, length=after.bytes)


def joined(found: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines, many at once."""
    some, size = list[bytes](), 0
    for line in found:
        some.append(line)
        size += len(line)
        if size > _CHUNK_BYTES:
            yield b"".join(some)
            some, size = [], 0
    yield b"".join(some)


def _make(target: Path, found: Iterable[bytes], wanted: Content) -> None:
    """Write the new form, read it back, and give it its name, durably."""
    fresh = durable.temporary(target)
    is_compressed = target.suffix in ENDINGS
    durable.write_new(fresh, compress.compressed(found, target.suffix, wanted.bytes) if is_compressed else found)
    with contents(fresh) as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != wanted.sha256:  # type: ignore[arg-type]
            fresh.unlink()
            raise Unfit(f"{target}: was not written as it should be")
    target.unlink(missing_ok=True)  # of a run that died before a manifest told of it
    durable.link_new(fresh, target)
    sync_directory(target.parent)


def _clear(directory: Path) -> None:
    """Remove the forms of rewritten files that do not count: what they were before, or what nobody finished."""
    names = {form_of(entry.name)[0] for entry in os.scandir(directory) if _REWRITTEN.search(entry.name)}
    for name in names:
        beside = manifest_path(directory / name)
        with suppress(FileNotFoundError, BadManifest):
            manifest = decode(regular.content(beside), beside)
            for form in _others(directory, manifest):
                _drop(form)


def _others(directory: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield the forms of a file that do not count; none where the one that does is not there."""
    counts = directory / (manifest.compressed.name if manifest.compressed else manifest.plain_name)
    if not counts.exists():
        return
    for entry in list(os.scandir(directory)):
        name, number = form_of(entry.name)
        if name == manifest.name and number != len(manifest.forgotten) and entry.is_file(follow_symlinks=False):
            yield directory / entry.name


def _drop(path: Path) -> None:
    """Remove a form, unless a worker has it in its hands, or it is no sealed file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and not found.st_mode & 0o222:
            path.unlink()
            sync_directory(path.parent)
    except BlockingIOError:
        return  # the next run looks again
    finally:
        os.close(descriptor)
