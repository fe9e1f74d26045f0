"""Hashes of rows: the same for a row that an event makes and for one that was read from a file. Pure.

Python's own hash: SipHash, 64 bits, in C, with a key of 128 random bits that each process draws anew. Nobody who can
write to a file or a stream knows the key (unless somebody set PYTHONHASHSEED), so nobody can make two rows collide, or
rows cancel each other in a sum; by chance two given rows do once in 2^64. Nothing here outlives the process.

CPython hashes the ASCII text of a row like its bytes, which spares the text's encoding; it promises nothing of the
kind, so that is tried first.
"""

from collections.abc import Sequence

_MUST_ENCODE = any(hash("row" * length) != hash(b"row" * length) for length in range(200))


def of_texts(rows: Sequence[str]) -> list[int]:
    """Return the hashes of rows as text."""
    if not _MUST_ENCODE and all(map(str.isascii, rows)):
        return list(map(hash, rows))
    return [hash(row.encode()) for row in rows]


def of_lines(rows: Sequence[bytes]) -> list[int]:
    """Return the hashes of rows as bytes."""
    return list(map(hash, rows))
