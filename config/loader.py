"""The loader: from an ini, the command line and the environment to Settings, or to everything that is wrong.

Precedence: command line, environment, ini, default. A blank value means the default.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from config import conflicts, keys, places
from config.answers import Answers
from config.composed import settings
from config.files import read_bounded
from config.given import Given, GivenIni, Id
from config.places import Purpose
from config.problem import ConfigError, Problem
from config.secret import exposure, password
from worker.settings import Settings

DEFAULT_FILE = Path("accounting_files.ini")
_MOST_BYTES = 1_000_000


class Loaded(Struct, frozen=True):
    """Settings that hold, and what should still be mended. The settings hold the password: do not log them."""

    settings: Settings
    warnings: tuple[Problem, ...]


class Report(Struct, frozen=True):
    """Everything that is wrong with a configuration, and the settings where nothing is."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load(
    path: Path | None, *, redis_url: str | None = None, name: str | None = None, purpose: Purpose = Purpose.WORK,
    environ: Mapping[str, str] = os.environ,
) -> Loaded:  # fmt: skip
    """Return the settings; raise ConfigError with all problems at once.

    Without a path, ./accounting_files.ini is read if it exists. `redis_url` and `name` overrule the ini.
    `purpose` says which directories have to be writable.
    """
    report = check(path, redis_url=redis_url, name=name, purpose=purpose, environ=environ)
    if report.settings is None:
        raise ConfigError(report.problems)
    return Loaded(report.settings, report.warnings)


def check(
    path: Path | None, *, redis_url: str | None = None, name: str | None = None, purpose: Purpose = Purpose.WORK,
    environ: Mapping[str, str] = os.environ,
) -> Report:  # fmt: skip
    """Return what `load` would, with every problem instead of an exception."""
    file = path or DEFAULT_FILE
    try:
        content = read_bounded(file, _MOST_BYTES) if path or os.path.lexists(file) else b""
    except ValueError as error:
        return Report(None, (Problem(message=str(error), file=file),), ())
    ini = GivenIni(content.decode("utf-8-sig", errors="surrogateescape"), file)
    return _report(ini, Answers({**ini.texts, **_options(redis_url, name)}), environ, purpose=purpose)


def _report(ini: GivenIni, answers: Answers, environ: Mapping[str, str], *, purpose: Purpose) -> Report:
    problems = [*ini.problems, *answers.problems, *conflicts.conflicts(answers), *places.unusable(answers, purpose)]
    secret = None
    try:
        secret = password(environ, answers[keys.PASSWORD_FILE])
    except ValueError as error:
        problems.append(answers.problem(str(error), keys.PASSWORD_FILE))
    exposed = exposure(environ, answers[keys.PASSWORD_FILE])
    problems.sort(key=lambda problem: problem.line or 0)
    return Report(
        settings=None if problems else settings(answers, secret),
        problems=tuple(problems),
        warnings=(
            *ini.warnings,
            *conflicts.warnings(answers),
            *([answers.problem(exposed, keys.PASSWORD_FILE)] if exposed else ()),
        ),
    )


def _options(redis_url: str | None, name: str | None) -> dict[Id, Given]:
    options = {
        keys.REDIS_URL.id: Given(redis_url or "", option="--redis or ACCOUNTING_REDIS_URL"),
        keys.NAME.id: Given(name or "", option="--name or ACCOUNTING_NAME"),
    }
    return {key: given for key, given in options.items() if given.text}
