"""Fixtures of the configuration's tests: an ini in a directory of its own, and nothing of this machine's settings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from config import Report, check
from worker.settings import Settings

Check = Callable[[str], Report]
Read = Callable[[str], Settings]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def check_text(tmp_path: Path) -> Check:
    """Check a text as the content of an ini."""

    def check_it(text: str) -> Report:
        file = tmp_path / "given.ini"
        file.write_bytes(text.encode("utf-8", errors="surrogateescape"))
        return check(file, environ={})

    return check_it


@pytest.fixture
def read_text(check_text: Check) -> Read:
    """Read a text as the content of an ini in which nothing is wrong."""

    def read_it(text: str) -> Settings:
        report = check_text(text)
        assert report.settings is not None, report.problems
        return report.settings

    return read_it
