"""Sealed files made by hand, in every form, with rows that the worker's own code writes."""

import gzip
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from schemas.catalogue import DEFAULT_COLUMNS
from tests.support.events import encode
from worker.batch import TypeRenderer
from worker.manifest import Compressed, Manifest, manifest_path
from worker.manifest import decode as decode_manifest
from worker.manifest import encode as encode_manifest
from worker.settings import Format, RowSettings

TSV = RowSettings(format=Format.TSV, separator="\t", timezone=UTC, columns=DEFAULT_COLUMNS)

_COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def seal(
    path: Path, event_type: str, events: Sequence[dict[str, Any]], *, rows: RowSettings = TSV, ending: str = ""
) -> Path:
    """Write the rows of these events as the sealed file of that name; returns the path of its content."""
    part = TypeRenderer(event_type, rows).part([(b"1-0", [b"events", encode(list(events))])])
    content = TypeRenderer(event_type, rows).rows.header + part.rows
    stored = _COMPRESS[ending](content)
    place = path.with_name(path.name + ending)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(stored)
    digest = hashlib.sha256(stored).hexdigest()
    manifest = Manifest(
        name=path.name, type=event_type, rows=part.row_count, bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(), columns=rows.columns[event_type], opened_ms=1, first_id="1-0",
        last_id="1-0", first_time_ms=part.first_time_ms, last_time_ms=part.last_time_ms, writer="w", directory="d",
        reason="size", version="0", format=rows.format, separator=rows.separator, timezone=str(rows.timezone),
        compressed=Compressed(name=place.name, bytes=len(stored), sha256=digest) if ending else None,
    )  # fmt: skip
    manifest_path(path).write_bytes(encode_manifest(manifest))
    return place


def compress(path: Path, ending: str = ".zst") -> None:
    """Put the compressed form in the place of a sealed file, in the order in which that can be read all the time."""
    content = _COMPRESS[ending](path.read_bytes())
    place = path.with_name(path.name + ending)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.rename(place)
    digest = hashlib.sha256(content).hexdigest()
    beside = manifest_path(path)
    manifest = decode_manifest(beside.read_bytes(), beside)
    compressed = Compressed(name=place.name, bytes=len(content), sha256=digest)
    part.write_bytes(encode_manifest(msgspec.structs.replace(manifest, compressed=compressed)))
    part.rename(beside)
    path.unlink()
