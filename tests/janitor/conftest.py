"""Sealed files, and janitors for them."""

from pathlib import Path

import pytest

from tests.janitor.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "accounting_files")
