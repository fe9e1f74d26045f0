"""What stands in a directory whatever its files are called and look like: read by their manifests alone."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_RECIPIENT = re.compile(r"[a-z0-9.]+@example\.com")
_NOT_FILES = {"journal", "series", "lost", "recovered", "copied"}  # folders of a directory with other things in them


class Counted(NamedTuple):
    """What the sealed files of a directory hold."""

    rows: Counter[str]  # by recipient
    in_doubt: set[str]  # recipients in files of which a note says that they are altered, or in doubt
    altered: set[str]  # names of files that are not what their manifests say: `verify` and the audit tell


def counted(path: Path) -> Counted:
    """Return the recipients in sealed files."""
    found = Counted(Counter(), set(), set())
    for file, manifest in _sealed(path):
        content = file.read_bytes()
        names = recipients(content)
        if hashlib.sha256(content).hexdigest() != manifest["sha256"] or len(names) != manifest["rows"]:
            found.altered.add(file.name)
        found.rows.update(names)
        if manifest["reason"] == "doubt" or any((path / "lost").glob(f"{file.name}.altered*.json")):
            found.in_doubt.update(names)
    return found


def unsealed(path: Path) -> Iterator[Path]:
    """Yield the files that hold rows and have no manifest."""
    sealed = {file for file, _ in _sealed(path)}
    for file in _files(path):
        if file.suffix != ".json" and file not in sealed and recipients(file.read_bytes()):
            yield file


def anywhere(path: Path) -> set[str]:
    """Return all recipients that stand below a directory, in whatever file."""
    files = (file for file in path.rglob("*") if file.is_file() and "journal" not in file.parts)
    return {name for file in files for name in recipients(file.read_bytes())}


def notes(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what the notes in `lost/` and `recovered/` say."""
    for note in sorted([*(path / "lost").glob("*.json"), *(path / "recovered").glob("*.json")]):
        yield json.loads(note.read_text())


def recipients(content: bytes) -> list[str]:
    """Return the recipients in a text, each as often as it stands there."""
    return _RECIPIENT.findall(content.decode("utf-8", "replace"))


def _sealed(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in _files(path):
        beside = file.with_name(f"{file.name}.json")
        if beside.exists():
            yield file, json.loads(beside.read_text())


def _files(path: Path) -> Iterator[Path]:
    for file in sorted(path.rglob("*")):
        is_own = file.is_file() and not file.name.startswith(".") and file.relative_to(path).parts[0] not in _NOT_FILES
        if is_own and file.name != "accounting.id":
            yield file
