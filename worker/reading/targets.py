"""Targets: which sealed files paths on a command line stand for. Reads names only."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from worker.manifest import ENDINGS, manifest_path

_MARKS = {"accounting.id", ".directory-id"}  # of a directory of accounting files
_ASIDE = {"recovered", "lost", "journal", "series"}  # what such a directory holds beside them


class Target(NamedTuple):
    """A file to look at: the data file by its name without an ending of compression."""

    path: Path
    given: Path | None = None  # a form of its content that was asked for by name
    is_sealed: bool = True


def targets(path: Path) -> Iterator[Target]:
    """Yield what a path stands for: a data file, a compressed one, a manifest, or all that is in a directory."""
    if path.is_dir():
        yield from _in_directory(path)
    elif path.suffix == ".json" and not manifest_path(path).exists():
        yield Target(path.with_suffix(""))
    else:
        plain = _plain(path)
        yield Target(plain, path, manifest_path(plain).exists())


def _in_directory(path: Path) -> Iterator[Target]:
    for directory, below, files in os.walk(path):
        names = set(files)
        below[:] = sorted(
            name for name in below if not name.startswith(".") and not (names & _MARKS and name in _ASIDE)
        )
        for name in sorted({_data_name(name) for name in files if not name.startswith(".") and name not in _MARKS}):
            yield Target(Path(directory, name), is_sealed=f"{name}.json" in names)


def _data_name(name: str) -> str:
    """Return the name of the data file that a file belongs to."""
    return _plain(Path(name.removesuffix(".json"))).name


def _plain(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in ENDINGS else path


def content_bytes(target: Target) -> int:
    """Return how many bytes will be read to verify a target, about."""
    plain = target.path
    forms = [target.given] if target.given else [plain, *(plain.with_name(plain.name + ending) for ending in ENDINGS)]
    return max((form.stat().st_size for form in forms if form.exists()), default=0)
