"""A problem: one thing in the configuration that cannot stay as it is, said so that it can be mended at once."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

_LONGEST = 1000  # characters of a setting, and of what is said of it


class Problem(Struct, frozen=True, kw_only=True):
    """Where a setting was given, and what was expected there."""

    message: str
    file: Path | None = None
    line: int | None = None  # counted from 1; None: the default, or not from a file
    section: str | None = None  # None: nothing known; "main": before any section
    key: str | None = None
    option: str | None = None  # set where the value came from the command line or the environment

    def __str__(self) -> str:
        """Return the problem as one line: place, setting, what is wrong."""
        place = [str(part) for part in (self.option or self.file, self.line) if part is not None]
        setting = _bounded(" ".join(part for part in (_bracketed(self.section), self.key) if part))
        return ": ".join(part for part in (":".join(place), setting, _bounded(self.message)) if part)


class ConfigError(Exception):
    """The configuration is refused; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean …?)` with the known name that is most like the word, or nothing."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    return f" (did you mean {names[close[0]]}?)" if close else ""


def _bounded(text: str) -> str:
    """Return a text that may repeat what stands in a file, with an end."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _bracketed(section: str | None) -> str:
    return f"[{section}]" if section and section != "main" else ""
