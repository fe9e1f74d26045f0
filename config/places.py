"""Places: whether the directories are apart, and whether they can be used here. Nothing is created."""

import os
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import combinations
from pathlib import Path

from config import keys
from config.answers import Answers
from config.locations import holds
from config.problem import Problem
from config.store_url import directory_of
from schemas.events import TYPES

_WRITABLE = "expected a directory that can be written"


class Purpose(Enum):
    """What the settings are for."""

    READ = "to read what is there"
    TIDY = "to change sealed files"
    WORK = "to start a worker, and the bundled server where there is no other"


def shared(answers: Answers) -> Iterator[Problem]:
    """Yield the types whose files would stand in one directory, or in one inside the other's."""
    path = answers[keys.PATH]
    for one, other in combinations(TYPES, 2):
        pair = keys.LOCATION[one], keys.LOCATION[other]
        archives = keys.ARCHIVE_TO[one], keys.ARCHIVE_TO[other]
        if not answers.fit(*pair):
            continue
        mine, its = answers[pair[0]], answers[pair[1]]
        expected = "expected a directory of its own for each type"
        if holds(mine, its) or holds(its, mine) or _one_on_disk(path / mine, path / its):
            yield answers.problem(f"{one} is in {mine}, {other} in {its}: {expected}", *pair)
        elif answers.fit(*archives) and _one_on_disk(*(path / each for each in _archives(answers, one, other))):
            yield answers.problem(f"links make it one directory for {one} and {other}: {expected}", *archives)


def _archives(answers: Answers, *types: str) -> Iterator[str]:
    return (f"{answers[keys.LOCATION[name]]}/{answers[keys.ARCHIVE_TO[name]]}" for name in types)


def nested_copies(answers: Answers) -> Iterator[Problem]:
    """Yield an archive_url that leads into the directory: what expires there would be the only copy."""
    if not answers.fit(keys.ARCHIVE_URL, keys.PATH, *keys.LOCATION.values(), *keys.ARCHIVE_TO.values()):
        return
    target = directory_of(answers[keys.ARCHIVE_URL] or "")
    if target is None:
        return
    for name in TYPES:
        copies = target / answers[keys.LOCATION[name]]
        if place := next((place for place in _own(answers) if _is_inside(copies, place)), None):
            message = f"copies of {name} files would stand inside {place}: expected a place that is not the original's"
            yield answers.problem(message, keys.ARCHIVE_URL)
            return


def unusable(answers: Answers, purpose: Purpose) -> Iterator[Problem]:
    """Yield the directories that could neither be made nor written, as far as the purpose needs them."""
    if purpose is Purpose.READ:
        return
    yield from _unwritable(answers)
    target = directory_of(answers[keys.ARCHIVE_URL] or "")
    if target and (trouble := _trouble(_without_placeholder(target))):
        yield answers.problem(f"{trouble}: {_WRITABLE}", keys.ARCHIVE_URL)
    if purpose is Purpose.WORK and answers[keys.REDIS_URL] is None and answers.fit(keys.REDIS_URL):
        yield from _server(answers)


def _unwritable(answers: Answers) -> Iterator[Problem]:
    """Yield the directories that could neither be made nor written."""
    trouble = _trouble(answers[keys.PATH]) if answers.fit(keys.PATH) else None
    if trouble:
        yield answers.problem(f"{trouble}: {_WRITABLE}", keys.PATH)
        return
    for name in TYPES:
        key = keys.LOCATION[name]
        place = answers[keys.PATH] / answers[key]
        if not (trouble := _trouble(place)) and answers[keys.ARCHIVING]:
            key = keys.ARCHIVE_TO[name]
            trouble = _trouble(place / answers[key])
        if trouble:
            yield answers.problem(f"{trouble}: {_WRITABLE}", key)


def _server(answers: Answers) -> Iterator[Problem]:
    """Yield the bundled server's directory where that cannot be used."""
    directory = answers[keys.SERVER_DIRECTORY]
    path, *inside = _own(answers)
    if trouble := _trouble(directory):
        yield answers.problem(f"{trouble}: {_WRITABLE}", keys.SERVER_DIRECTORY)
    elif directory == path or any(_is_inside(directory, place) for place in inside):
        yield answers.problem("accounting files stand there: expected another directory", keys.SERVER_DIRECTORY)


def _own(answers: Answers) -> Iterator[Path]:
    """Yield the directory, and those of the types."""
    path = answers[keys.PATH]
    yield path
    for name in TYPES:
        yield path / answers[keys.LOCATION[name]]
        yield path / answers[keys.LOCATION[name]] / answers[keys.ARCHIVE_TO[name]]


def _is_inside(inner: Path, outer: Path) -> bool:
    """Tell whether a directory is, or would be, another one or inside it, whatever links and mounts lead there."""
    try:
        real = inner.resolve()
        return real.is_relative_to(outer.resolve()) or _holds_one(outer, (real, *real.parents))
    except (OSError, RuntimeError):  # a loop of links
        return False


def _holds_one(outer: Path, ancestors: Iterable[Path]) -> bool:
    return any(_one_on_disk(outer, each) for each in ancestors)


def _without_placeholder(target: Path) -> Path:
    """Return the last directory of a path whose name is known by now."""
    return next((each.parent for each in reversed((target, *target.parents)) if "{directory}" in each.name), target)


def _trouble(directory: Path) -> str | None:
    """Return why the directory cannot be written, judged by its nearest existing parent; None where it can."""
    for place in (directory, *directory.parents):
        try:
            is_directory = place.is_dir()
            exists = is_directory or place.lstat() is not None
        except (FileNotFoundError, NotADirectoryError):
            continue  # below a file: the file itself comes next and says so
        except OSError as error:
            return f"{place}: {error.strerror}"
        if exists and not is_directory:
            return f"{place} is no directory"
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return f"{place} cannot be written"
        return None
    return f"{directory} has no parent"


def _one_on_disk(one: Path, other: Path) -> bool:
    """Tell whether links or mounts make two directories one."""
    try:
        return one.samefile(other)
    except OSError:
        return False
