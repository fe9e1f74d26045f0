"""Compression: the compressed form takes the place of a sealed file.

Temporary file → fsync → decompressed and compared with the manifest → linked → manifest replaced → original unlinked.
Until the manifest says so, the original counts; from then on the compressed form does. What was begun is finished,
whatever the configuration says by now. The same file gives the same bytes with the same version of the library.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import zstandard

from worker import regular
from worker.durable import sync_directory
from worker.inventory import Place, Stored, contents
from worker.janitor import durable
from worker.janitor.held import Unfit, held
from worker.manifest import ENDINGS, Compressed, Manifest, encode, manifest_path
from worker.settings import Compression

_ENDINGS = {Compression.ZSTD: ".zst", Compression.GZIP: ".gz"}
_ZSTD_LEVEL = 3
_GZIP_LEVEL = 6
_GZIP_HEADER = 16 + zlib.MAX_WBITS  # with time 0 and without a name


def is_begun(stored: Stored) -> bool:
    """Tell whether a file stands in two forms: a run died between the two."""
    if stored.manifest is not None and stored.manifest.compressed is not None:
        return os.path.lexists(stored.plain_path)
    return _begun(stored.plain_path) is not None


def compress(stored: Stored, place: Place, kind: Compression) -> Stored:
    """Compress a sealed file, or finish what was begun; return it as it stands then.

    Raises Busy, OSError, DiskTrouble, or Unfit where the content is not what the manifest says.
    """
    manifest = stored.manifest
    assert manifest is not None  # noqa: S101  # only sealed files come here
    plain = stored.plain_path
    if manifest.compressed:
        with held(stored, place):  # the compressed form: it counts, the original is left over
            if _facts(stored.content_path, manifest) != manifest.compressed:
                raise Unfit(f"{stored.content_path.name} is not what its manifest says, {plain.name} is kept")
            _drop(plain)
        return stored
    target = plain.with_name(plain.name + (_begun(plain) or _ENDINGS[kind]))
    with held(stored, place):
        if os.path.lexists(target) and not durable.is_regular(target):
            raise Unfit(f"{target} stands in the way, and is no regular file")
        if not os.path.lexists(target):
            _make(plain, target, manifest)
        facts = _facts(target, manifest)
        sync_directory(target.parent)
        manifest = msgspec.structs.replace(manifest, compressed=facts)
        durable.replace(manifest_path(stored.path), encode(manifest))
        _drop(plain)
    return stored._replace(manifest=manifest)


def _begun(path: Path) -> str | None:
    return next((ending for ending in ENDINGS if os.path.lexists(path.with_name(path.name + ending))), None)


def _drop(original: Path) -> None:
    original.unlink()
    sync_directory(original.parent)


def _make(source: Path, target: Path, manifest: Manifest) -> None:
    """Write the compressed form, compare it, and give it its name."""
    fresh = durable.temporary(target)
    with regular.opened(source) as content:
        durable.write_new(fresh, compressed(durable.chunks_of(content), target.suffix, source.stat().st_size))
    try:
        _facts(fresh, manifest)
    except Unfit:
        fresh.unlink()
        raise Unfit("its content is not what its manifest says") from None
    durable.link_new(fresh, target)


def compressed(chunks: Iterable[bytes], ending: str, size: int) -> Iterator[bytes]:
    """Yield the compressed form of a content of that size, by the ending of its name."""
    compress_chunk: Callable[[bytes], bytes]
    flush: Callable[[], bytes]
    if ending == ".zst":
        frame = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj(size=size)
        compress_chunk, flush = frame.compress, frame.flush
    else:
        member = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_HEADER)
        compress_chunk, flush = member.compress, member.flush
    for chunk in chunks:
        yield compress_chunk(chunk)
    yield flush()


def _facts(path: Path, manifest: Manifest) -> Compressed:
    """Describe a compressed form after comparing what is in it with the manifest; raises Unfit."""
    found, length = hashlib.sha256(), 0
    try:
        with contents(path) as content:
            for chunk in durable.chunks_of(content):
                found.update(chunk)
                length += len(chunk)
                if length > manifest.bytes:
                    break
    except (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise Unfit(f"{path} cannot be decompressed: {error}") from error
    if (length, found.hexdigest()) != (manifest.bytes, manifest.sha256):
        raise Unfit(f"{path} holds another content than its manifest says")
    return Compressed(name=manifest.plain_name + path.suffix, bytes=path.stat().st_size, sha256=durable.digest(path))
