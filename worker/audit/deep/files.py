"""The rows of accounting files, as many lines at once as a block holds.

Sealed files are read to their end, whatever their manifests say; open ones as far as their records tell. On the way a
sealed file can be compared with the digest in its manifest.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple, Protocol

import zstandard

from worker.audit.deep.layout import Shape
from worker.audit.finding import Finding, Kind, NotAudited
from worker.catalogue import expired
from worker.inventory import Place, Stored, contents, sealed_file
from worker.manifest import BadManifest, Manifest
from worker.reading.content import NotHere, opened
from worker.regular import ENDLESS_LINE_BYTES, LONGEST_LINE_BYTES

_BLOCK_BYTES = 1 << 18  # fits into the processor's cache with its lines
_TRIES = 5
_UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)


class Digest(Protocol):
    """What hashlib gives."""

    def update(self, block: bytes, /) -> None: ...  # noqa: D102


class Expired(Exception):
    """A file has expired since the audit began; nothing of it was read."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest.name)
        self.manifest = manifest


class Chosen(NamedTuple):
    """A file that may hold rows of a span."""

    place: Place
    stored: Stored
    shape: Shape


class Lines(NamedTuple):
    """Some lines of a file, without their ends; the first one's number counts from 1."""

    stored: Stored
    first: int
    lines: list[bytes]


class Reader:
    """Reads files of one type; what it cannot read, and headers that are not as they should be, are findings."""

    def __init__(self, place: Place, header: bytes) -> None:
        """`header` is the first line that a file should have, without its end; empty where it should have none."""
        self._place = place
        self._header = header or None
        self.findings: list[Finding] = []

    def rows(self, stored: Stored, *, is_compared: bool = False) -> Iterator[Lines]:
        """Yield the rows of a file; `is_compared` with its manifest's sha256, an open one always with its record's.

        Raises Expired.
        """
        wanted = stored.manifest.sha256 if is_compared and stored.manifest else stored.sha256
        first, sha256 = 1, hashlib.sha256() if wanted else None
        try:
            for lines in self._lines(stored, sha256):
                rows, number = lines, first
                if first == 1 and self._header is not None:
                    self._check_header(stored, lines[0])
                    rows, number = lines[1:], 2
                first += len(lines)
                yield Lines(stored, number, rows)
            if sha256 and sha256.hexdigest() != wanted:
                what = f"is not as it was {'sealed' if stored.manifest else 'committed'}, by its sha256"
                self.findings.append(_finding(Kind.FILE_ALTERED, stored, what, sha256.hexdigest()))
        except FileNotFoundError as error:
            for manifest in expired(self._place):
                if manifest.name == stored.path.name:
                    raise Expired(manifest) from error
            self.findings.append(_finding(Kind.FILE_MISSING, stored, "is not there"))
        except _UNREADABLE as error:
            self.findings.append(_finding(Kind.FILE_UNREADABLE, stored, f"cannot be read: {error}"))

    def _lines(self, stored: Stored, digest: Digest | None) -> Iterator[list[bytes]]:
        """Yield the lines of a file in blocks, looking for its other forms where it was moved or compressed."""
        left = None if stored.manifest else stored.length
        now: Stored | None = stored
        for _ in range(_TRIES):
            if now is None:
                break
            try:
                with contents(now.content_path) as content:
                    yield from _blocks(_read(content, left, _most(now)), digest)
            except FileNotFoundError:
                now = self._now(stored.path.name)
                _require_same_rows(stored, now)
            else:
                return
        raise FileNotFoundError(f"{stored.path} is not there any more")

    def _now(self, name: str) -> Stored | None:
        try:
            return sealed_file(self._place, name)
        except BadManifest:
            return None

    def _check_header(self, stored: Stored, line: bytes) -> None:
        if line != self._header:
            self.findings.append(_finding(Kind.HEADER, stored, "line 1 is not the header of its columns"))


def _require_same_rows(stored: Stored, now: Stored | None) -> None:
    """Raise NotAudited where an address was taken out of a file since the audit began."""
    before = stored.manifest.forgotten if stored.manifest else ()
    if now and now.manifest and len(now.manifest.forgotten) != len(before):
        raise NotAudited(f"not audited: {now.path}: rewritten by `forget` meanwhile: audit once more")


def first_line(place: Place, stored: Stored) -> bytes:
    """Return the first line of a file, wherever it stands by now; nothing where it cannot be read."""
    try:
        with opened(stored, place) as content:
            return content.readline(_BLOCK_BYTES).removesuffix(b"\n")
    except (NotHere, *_UNREADABLE):
        return b""


def _blocks(pieces: Iterable[bytes], digest: Digest | None) -> Iterator[list[bytes]]:
    """Yield whole lines; a torn last one is a line too.

    Of a line that is longer than any row comes its beginning, which no event has.
    """
    begun: list[bytes] = []
    begun_bytes = 0
    for block in pieces:
        if digest:
            digest.update(block)
        lines = block.split(b"\n")
        if len(lines) > 1:
            lines[0] = b"".join((*begun, lines[0]))
            begun, begun_bytes = [], 0
        rest = lines.pop()
        begun_bytes += len(rest)
        if begun_bytes <= LONGEST_LINE_BYTES:
            begun.append(rest)
        if begun_bytes > ENDLESS_LINE_BYTES:
            raise EOFError(f"a line has more than {ENDLESS_LINE_BYTES:,} bytes")
        if lines:
            yield lines
    if any(begun):
        yield [b"".join(begun)]


def _read(content: IO[bytes], left: int | None, most: int | None) -> Iterator[bytes]:
    """Yield a content in pieces. Raises EOFError where it has more than it may have."""
    while block := content.read(_BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left)):
        left = None if left is None else left - len(block)
        most = None if most is None else most - len(block)
        if most is not None and most < 0:
            raise EOFError("there is more in it than its manifest says")
        yield block


def _most(stored: Stored) -> int | None:
    """Return how much a file may hold, None for any: a few compressed bytes can hold any number of others."""
    manifest = stored.manifest
    return manifest.bytes + LONGEST_LINE_BYTES if manifest and manifest.compressed else None


def _finding(kind: Kind, stored: Stored, what: str, sha256: str | None = None) -> Finding:
    text = f"{stored.path}: {what}"
    return Finding(kind=kind, type=stored.event_type, file=str(stored.path), sha256=sha256, text=text)
