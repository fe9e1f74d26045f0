"""Reading accounting files back, as a pipeline would."""

import hashlib
from collections import Counter
from pathlib import Path

from schemas.events import TAGS, TYPES
from worker.manifest import Manifest, decode, manifest_path


def data_files(path: Path, event_type: str) -> list[Path]:
    """Return every accounting file of a type, open, sealed or archived."""
    prefix = f"{TAGS[event_type]}."
    found = (path / event_type).rglob(f"{prefix}*")
    return sorted(file for file in found if file.suffix != ".json" and not file.name.startswith(".") and file.is_file())


def sealed_files(path: Path, event_type: str) -> list[Path]:
    """Return the files of a type that have a manifest."""
    return [file for file in data_files(path, event_type) if manifest_path(file).exists()]


def rows_of(file: Path) -> list[dict[str, str]]:
    """Return the rows of a TAB-separated file by column; every line must be whole."""
    content = file.read_text(encoding="utf-8")
    assert content.endswith("\n"), f"{file} ends in the middle of a row"
    header, *lines = [line.split("\t") for line in content.split("\n")[:-1]]
    assert all(len(line) == len(header) for line in lines), file
    return [dict(zip(header, line, strict=True)) for line in lines]


def recipients_in(path: Path) -> Counter[str]:
    """Count how often each recipient stands in all accounting files below a directory."""
    return Counter(
        row["rcpt"] for event_type in TYPES for file in data_files(path, event_type) for row in rows_of(file)
    )


def check_manifest(file: Path) -> Manifest:
    """Return a sealed file's manifest after comparing it with the content."""
    manifest = decode(manifest_path(file).read_bytes(), manifest_path(file))
    content = file.read_bytes()
    assert manifest.name == file.name
    assert manifest.bytes == len(content)
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.rows == len(rows_of(file))
    assert not file.stat().st_mode & 0o222, f"{file} can be written"
    return manifest
