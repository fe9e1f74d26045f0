"""What is given: the texts of an ini by key, with their lines, and what is wrong with lines that belong to no key."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from config import ini, keys
from config.problem import Problem, nearest

Id = tuple[str, str]


class Given(Struct, frozen=True):
    """The text given for a key, and where."""

    text: str
    file: Path | None = None
    line: int | None = None
    option: str | None = None


class GivenIni:
    """One ini: `texts` by key, problems of its lines, warnings."""

    def __init__(self, text: str, file: Path) -> None:
        self.file = file
        self.texts: dict[Id, Given] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        for item in ini.read(text):
            match item:
                case ini.Entry():
                    self._take(item)
                case ini.Section(line, name) if name not in keys.SECTIONS:
                    self.problems.append(Problem(message=_unknown_section(name), file=file, line=line, section=name))
                case ini.Section():
                    pass
                case ini.Stray(line, _):
                    expected = "expected a comment (; or #), a [section], or key = value"
                    self.problems.append(Problem(message=expected, file=file, line=line))

    def _take(self, entry: ini.Entry) -> None:
        place = (entry.section, entry.key)
        known = keys.MISPLACED.get(place, place)
        if known in self.texts:
            self._object(entry, f"expected once: line {self.texts[known].line} gives it already")
        elif known in keys.KEYS:
            tab = known == keys.SEPARATOR.id and entry.value == "\t"
            self.texts[known] = Given(entry.value if tab else entry.value.strip(), self.file, entry.line)
            if known != place:
                message = "accepted here, but belongs above the first section"
                self.warnings.append(self._problem(entry, message))
        elif entry.section in keys.SECTIONS:  # keys of an unknown section: its own line says it all
            self._object(entry, _unknown_key(*place))

    def _object(self, entry: ini.Entry, message: str) -> None:
        self.problems.append(self._problem(entry, message))

    def _problem(self, entry: ini.Entry, message: str) -> Problem:
        return Problem(message=message, file=self.file, line=entry.line, section=entry.section, key=entry.key)


def _unknown_section(name: str) -> str:
    expected = ", ".join(f"[{section}]" for section in keys.SECTIONS if section != ini.MAIN)
    known = keys.OLD_NAMES.get(name, name)
    if (ini.MAIN, known) in keys.KEYS:
        return f"unknown section: expected {known} = … above the first section"
    if known != name:
        return f"unknown section: it is called [{known}]"
    return f"unknown section{nearest(name, keys.SECTIONS)}: expected {expected}"


def _unknown_key(section: str, name: str) -> str:
    known = keys.OLD_NAMES.get(name, name)
    if known in keys.SECTIONS and known != ini.MAIN:
        below = ", ".join(f"{key} = …" for other, key in keys.KEYS if other == known)
        return f"no key: expected the section [{known}], and below it {below}"
    if known != name:
        return f"unknown key: it is called {known}, and belongs above the first section"
    elsewhere = [_place(other) for other, known in keys.KEYS if known == name]
    if elsewhere:
        return f"unknown key here: {name} belongs {' or '.join(elsewhere)}"
    own = [known for other, known in keys.KEYS if other == section]
    hint = nearest(name, own) or nearest(name, _all_names())
    return f"unknown key{hint}: expected {', '.join(own)}"


def _place(section: str) -> str:
    return "above the first section" if section == ini.MAIN else f"below [{section}]"


def _all_names() -> Iterator[str]:
    return (name for _, name in keys.KEYS)
