"""SECURITY.md promises nothing without a test that exists, and names only pages and keys that there are."""

import re
from pathlib import Path

import pytest

from config.keys import KEYS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
PROMISES = re.findall(r"^\| ([A-Z].*) \| (`.*`) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("promise", "tests"), PROMISES, ids=[promise[:40] for promise, _ in PROMISES])
def test_every_promise_has_tests_that_exist(promise: str, tests: str) -> None:
    named = re.findall(r"`([^`]+)`", tests)
    assert named, promise
    assert not [name for name in named if not (ROOT / name).is_file()], promise


def test_every_page_that_is_linked_exists() -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(linked) >= 4
    assert not [name for name in linked if not (ROOT / name).is_file()]


def test_every_setting_that_is_named_is_one() -> None:
    known = {key for _, key in KEYS}
    settings = re.findall(r"`((?:keep|stream|archive|min)_[a-z_]+)`", TEXT)
    assert settings
    assert set(settings) <= known
