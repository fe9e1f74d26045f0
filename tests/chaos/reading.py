"""The accounting files of a directory as they stand, in whatever place and layout: by their manifests alone."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.chaos.operators import NOT_FILES, OPEN
from worker.manifest import BadManifest, Manifest, decode, manifest_path


class Sealed(NamedTuple):
    """A file with its manifest, and the recipients in it."""

    path: Path
    manifest: Manifest
    recipients: list[str]

    def trouble(self) -> str:
        """Return what does not fit the manifest; empty where all does."""
        content, manifest = self.path.read_bytes(), self.manifest
        if len(content) != manifest.bytes:
            return f"has {len(content)} bytes, expected {manifest.bytes}"
        if hashlib.sha256(content).hexdigest() != manifest.sha256:
            return "has another sum than its manifest says"
        if len(self.recipients) != manifest.rows:
            return f"has {len(self.recipients)} rows, expected {manifest.rows}"
        return "can be written" if self.path.stat().st_mode & 0o222 else ""


def sealed_files(path: Path) -> Iterator[Sealed | str]:
    """Yield each sealed file of a directory, or what is wrong with a manifest."""
    for each in _files(path):
        beside = manifest_path(each)
        if beside.exists():
            try:
                manifest = decode(beside.read_bytes(), beside)
            except BadManifest as error:
                yield str(error)
            else:
                yield Sealed(each, manifest, list(_recipients(each, manifest)))


def unsealed_files(path: Path) -> list[Path]:
    """Return the files without a manifest."""
    return [each for each in _files(path) if not manifest_path(each).exists()]


def _files(path: Path) -> list[Path]:
    return sorted(
        each
        for each in path.rglob("*")
        if OPEN.fullmatch(each.name) and each.suffix != ".json" and each.is_file()
        and not NOT_FILES & set(each.relative_to(path).parts[:-1])
    )  # fmt: skip


def _recipients(file: Path, manifest: Manifest) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    if manifest.format == "jsonl":
        yield from (json.loads(line)["rcpt"] for line in text.splitlines())
        return
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=manifest.separator, quoting=csv.QUOTE_MINIMAL)
    header = next(rows, [])
    assert header == list(manifest.columns), f"{file}: its header is {header}"
    column = header.index("rcpt")
    yield from (row[column] for row in rows)
