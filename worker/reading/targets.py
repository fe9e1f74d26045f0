"""Targets: which sealed files paths on a command line stand for. Reads names only."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from worker.manifest import ENDINGS, form_of, manifest_path

_MARKS = {"accounting.id", ".directory-id"}  # of a directory of accounting files
_ASIDE = {"recovered", "lost", "journal", "series", "accepted", "forgotten"}  # what such a directory holds beside them


class Target(NamedTuple):
    """A file to look at: the data file by its name without an ending of compression."""

    path: Path
    given: Path | None = None  # a form of its content that was asked for by name
    is_sealed: bool = True
    trouble: str | None = None  # it is nothing that could be looked at


def targets(path: Path) -> Iterator[Target]:
    """Yield what a path stands for: a data file, a compressed one, a manifest, or all that is in a directory.

    What is not there or cannot be read is a target too, with its trouble.
    """
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            yield from _in_directory(path)
        elif path.suffix == ".json" and not manifest_path(path).exists():
            yield Target(path.with_suffix(""))
        else:
            plain = _plain(path)
            yield Target(plain, path, manifest_path(plain).exists())
    except OSError as error:
        yield Target(path, trouble=error.strerror)


def _in_directory(path: Path) -> Iterator[Target]:
    unreadable: list[OSError] = []
    for directory, below, files in os.walk(path, onerror=unreadable.append):
        names = set(files)
        below[:] = sorted(
            name for name in below if not name.startswith(".") and not (names & _MARKS and name in _ASIDE)
        )
        for name in sorted({_data_name(name) for name in files if not name.startswith(".") and name not in _MARKS}):
            yield Target(Path(directory, name), is_sealed=f"{name}.json" in names)
    yield from (Target(Path(os.fsdecode(error.filename)), trouble=error.strerror) for error in unreadable)


def _data_name(name: str) -> str:
    """Return the name of the data file that a file belongs to."""
    return _plain(Path(name.removesuffix(".json"))).name


def _plain(path: Path) -> Path:
    return path.with_name(form_of(path.name)[0])


def content_bytes(target: Target) -> int:
    """Return how many bytes will be read to verify a target, about."""
    plain = target.path
    forms = [target.given] if target.given else [plain, *(plain.with_name(plain.name + ending) for ending in ENDINGS)]
    return max(map(_bytes_of, forms))


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reading it tells
        return 0
