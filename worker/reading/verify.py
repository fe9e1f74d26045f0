"""Verification: a sealed file compared with its manifest, by these two alone.

Reads only, and needs neither server nor configuration. Safe while workers and the janitor are at work: a file that was
moved, compressed or removed between two looks is looked at again.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

from msgspec import Struct

from worker import regular
from worker.inventory import decompressed
from worker.manifest import BadManifest, Manifest, decode, manifest_path
from worker.reading.content import UNREADABLE
from worker.reading.targets import Target
from worker.rows import header_line
from worker.settings import Format

_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 16  # a header longer than that is none


class State(StrEnum):
    """What came of looking at a file."""

    OK = "ok"
    DIFFERS = "differs"
    NOT_SEALED = "not sealed"
    ELSEWHERE = "in object storage only"
    GONE = "gone"  # moved or removed while it was looked at
    UNREADABLE = "cannot be read"


class Finding(Struct, frozen=True, kw_only=True):
    """What came of one file."""

    path: str
    state: State
    rows: int | None = None  # as the manifest says
    bytes: int | None = None
    differences: Sequence[str] = ()


#: Told how many more bytes were read.
Tell = Callable[[int], object]


def verify(target: Target, tell: Tell) -> Finding:
    """Compare a file with its manifest. What keeps it from being looked at is its finding, not an error."""
    try:
        return _found(target, tell)
    except OSError as error:
        where = Path(os.fsdecode(error.filename)) if error.filename is not None else target.path
        return _unreadable(where, error.strerror or str(error))


def _unreadable(path: Path, why: str) -> Finding:
    return Finding(path=str(path), state=State.UNREADABLE, differences=[why])


def _found(target: Target, tell: Tell) -> Finding:
    """Compare; raises OSError for what cannot be read."""
    if target.trouble is not None:
        return _unreadable(target.path, target.trouble)
    if not target.is_sealed:
        return Finding(path=str(target.given or target.path), state=State.NOT_SEALED)
    for _ in range(3):  # it may be moved on meanwhile
        try:
            return _verify(target, tell)
        except FileNotFoundError:
            continue
    if manifest_path(target.path).exists() or target.given:
        return Finding(path=str(target.path), state=State.DIFFERS, differences=["content: missing"])
    return Finding(path=str(target.path), state=State.GONE)


def _verify(target: Target, tell: Tell) -> Finding:
    """Compare; raises FileNotFoundError where manifest or content is not there."""
    beside = manifest_path(target.path)
    try:
        manifest = decode(regular.content(beside), beside)
    except BadManifest as error:
        return Finding(path=str(beside), state=State.DIFFERS, differences=[str(error)])
    content = target.given or _content_path(target.path, manifest)
    if manifest.uploaded and not content.exists():
        return Finding(path=str(content), state=State.ELSEWHERE, rows=manifest.rows, bytes=manifest.bytes)
    differences = list(_differences(content, manifest, tell))
    state = State.DIFFERS if differences else State.OK
    return Finding(path=str(content), state=state, rows=manifest.rows, bytes=manifest.bytes, differences=differences)


def _content_path(path: Path, manifest: Manifest) -> Path:
    return path.with_name(manifest.compressed.name if manifest.compressed else manifest.plain_name)


def _differences(path: Path, manifest: Manifest, tell: Tell) -> Iterator[str]:
    """Yield how content and manifest differ. Raises FileNotFoundError."""
    is_compressed = path.name != manifest.plain_name
    if is_compressed and (manifest.compressed is None or manifest.compressed.name != path.name):
        yield "manifest: it names no such compressed file"
        return
    with regular.opened(path, 0) as file:
        raw = _Digested(file, tell)
        try:
            seen = _seen(raw, path.suffix, manifest.bytes) if is_compressed else _see(raw)
            while raw.read(_BLOCK_BYTES):  # what the decompressor did not need
                pass
        except UNREADABLE as error:
            yield f"content: cannot be read: {error}"
            return
    if manifest.compressed and is_compressed:
        yield from _compare("compressed bytes", raw.size, manifest.compressed.bytes)
        yield from _compare("compressed sha256", raw.sha256.hexdigest(), manifest.compressed.sha256)
    yield from _compare_content(seen, manifest)


def _compare(what: str, found: object, said: object) -> Iterator[str]:
    if found != said:
        yield f"{what}: {found}, the manifest says {said}"


class _Digested:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO, tell: Tell) -> None:
        self._file = file
        self._tell = tell
        self.sha256 = hashlib.sha256()
        self.size = 0

    def read(self, count: int = -1) -> bytes:
        block = self._file.read(count)
        self.sha256.update(block)
        self.size += len(block)
        self._tell(len(block))
        return block


class _Seen(NamedTuple):
    """What stands in a file, decompressed."""

    size: int
    sha256: str
    lines: int
    head: bytes
    end: bytes


def _seen(raw: _Digested, ending: str, limit: int) -> _Seen:
    """Read a compressed content."""
    return _see(decompressed(cast("BinaryIO", raw), ending), limit)


def _see(content: IO[bytes] | _Digested, limit: int | None = None) -> _Seen:
    """Read a content; not much further than `limit`, since a few compressed bytes can hold any number of others."""
    sha256, size, lines, head, end = hashlib.sha256(), 0, 0, b"", b""
    while (limit is None or size <= limit) and (block := content.read(_BLOCK_BYTES)):
        head = head or block[:_HEADER_BYTES]
        sha256.update(block)
        size += len(block)
        lines += block.count(b"\n")
        end = block[-1:]
    return _Seen(size, sha256.hexdigest(), lines, head, end)


def _compare_content(seen: _Seen, manifest: Manifest) -> Iterator[str]:
    try:
        layout_format = Format(manifest.format)
    except ValueError:
        yield f"manifest: unknown format {manifest.format!r}, expected one of {', '.join(Format)}"
        return
    yield from _compare("bytes", seen.size, manifest.bytes)
    yield from _compare("sha256", seen.sha256, manifest.sha256)
    header = header_line(layout_format, manifest.separator, manifest.columns)
    yield from _compare("rows", seen.lines - bool(header), manifest.rows)
    if not seen.head.startswith(header):
        found = seen.head.partition(b"\n")[0].decode("utf-8", "replace")
        yield f"header: {found!r}, the manifest's columns make {header.decode().rstrip()!r}"
    if seen.end not in {b"\n", b""}:
        yield "content: it ends in the middle of a row"
    first, last = manifest.first_time_ms, manifest.last_time_ms
    if first is not None and last is not None and first > last:
        yield "manifest: its first time is after its last one"
