"""docs/traps.md names every trap, and beside it all tests that are named after it and all breakages of its rule."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.crash.breakages import BREAKAGES

_ROOT = Path(__file__).resolve().parents[2]
_PLUGIN = _ROOT / "haraka" / "plugin" / "test"
_TRAPS = range(1, 60)


class Row(NamedTuple):
    """What is told of a trap."""

    tests: set[str]  # the files that they are in
    breakages: set[str]


def _told() -> dict[int, Row]:
    rows = {}
    for line in (_ROOT / "docs" / "traps.md").read_text().splitlines():
        if match := re.match(r"\| (\d+) \|[^|]+\|([^|]+)\|([^|]+)\|$", line):
            number, tests, breakages = match.groups()
            rows[int(number)] = Row(set(re.findall(r"`([^`]+)`", tests)), set(breakages.strip().split("; ")))
    return rows


def _found() -> dict[int, Row]:
    rows: dict[int, Row] = defaultdict(lambda: Row(set(), set()))
    for number, file in _named_tests():
        rows[number].tests.add(file)
    for breakage in BREAKAGES:
        for number in re.findall(r"(?<!step )\b\d+", breakage.rule):
            rows[int(number)].breakages.add(breakage.what)
    for words, number in re.findall(r"'([^']+) \(trap (\d+)\)'", (_PLUGIN / "breakages.js").read_text()):
        rows[int(number)].breakages.add(words)
    return dict(rows)


def _named_tests() -> Iterator[tuple[int, str]]:
    """Yield the number of a trap and the file of a test, for each that is named after one."""
    for file in sorted((_ROOT / "tests").rglob("test_*.py")):
        for numbers in re.findall(r"^def test_trap_((?:\d+_(?:and_)?)+)", file.read_text(), re.MULTILINE):
            for number in re.findall(r"\d+", numbers):
                yield int(number), str(file.relative_to(_ROOT / "tests"))
    for file in sorted(_PLUGIN.glob("*.test.js")):
        for number in re.findall(r"test\('[^\n]*\(trap (\d+)\)", file.read_text()):
            yield int(number), f"plugin: {file.name}"


def test_the_table_of_traps_names_each_trap_with_its_tests_and_breakages() -> None:
    told, found = _told(), _found()
    assert sorted(told) == list(_TRAPS)
    for number in _TRAPS:
        assert told[number] == found.get(number), f"trap {number}"
        assert all(told[number]), f"trap {number}"
