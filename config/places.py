"""Places: whether the directories of the types are apart, and whether they can be written. Nothing is created."""

import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from config import keys
from config.answers import Answers
from config.locations import holds
from config.problem import Problem
from schemas.events import TYPES


def shared(answers: Answers) -> Iterator[Problem]:
    """Yield the types whose files would stand in one directory, or in one inside the other's."""
    for one, other in combinations(TYPES, 2):
        pair = keys.LOCATION[one], keys.LOCATION[other]
        if not answers.fit(*pair):
            continue
        mine, its = answers[pair[0]], answers[pair[1]]
        if holds(mine, its) or holds(its, mine) or _one_on_disk(answers[keys.PATH], mine, its):
            expected = "expected a directory of its own for each type"
            yield answers.problem(f"{one} is in {mine}, {other} in {its}: {expected}", *pair)


def unwritable(answers: Answers) -> Iterator[Problem]:
    """Yield the directories that could neither be made nor written."""
    trouble = _trouble(answers[keys.PATH]) if answers.fit(keys.PATH) else None
    if trouble:
        yield answers.problem(f"{trouble}: expected a directory that can be written", keys.PATH)
        return
    for name in TYPES:
        key = keys.LOCATION[name]
        place = answers[keys.PATH] / answers[key]
        if not (trouble := _trouble(place)) and answers[keys.ARCHIVING]:
            key = keys.ARCHIVE_TO[name]
            trouble = _trouble(place / answers[key])
        if trouble:
            yield answers.problem(f"{trouble}: expected a directory that can be written", key)


def server_unwritable(answers: Answers) -> Iterator[Problem]:
    """Yield the bundled server's directory where it could neither be made nor written."""
    if answers[keys.REDIS_URL] is None and (trouble := _trouble(answers[keys.SERVER_DIRECTORY])):
        yield answers.problem(f"{trouble}: expected a directory that can be written", keys.SERVER_DIRECTORY)


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


def _one_on_disk(path: Path, one: str, other: str) -> bool:
    """Tell whether symbolic links make the two locations one directory."""
    try:
        return (path / one).samefile(path / other)
    except OSError:
        return False
