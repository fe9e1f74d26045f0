"""Deliberate breakages turn the tests red: those that the simulation notices at once. All: `make breakages`."""

from pathlib import Path

import pytest

from tests.crash.breakage import Breakage
from tests.crash.breakages import BREAKAGES
from tests.crash.breaking import outcome_of


@pytest.mark.parametrize("breakage", [pytest.param(each, id=each.what) for each in BREAKAGES if each.is_fast])
def test_a_broken_rule_is_noticed(breakage: Breakage) -> None:
    assert outcome_of(breakage).is_noticed


def test_the_text_of_every_breakage_stands_in_the_code_once() -> None:
    root = Path(__file__).resolve().parents[2]
    edits = [edit for breakage in BREAKAGES for edit in breakage.edits]
    assert [edit for edit in edits if (root / edit.file).read_text().count(edit.old) != 1] == []
