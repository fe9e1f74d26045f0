"""The ini of haraka-plugin-accounting-files 0.7.0, as its sample has it, means here what its comments say there.

old_plugin_sample.ini is its config/accounting_files.ini, byte for byte (MIT, © 2017 Zakaria Acharki).
"""

import re
from pathlib import Path

import pytest

from tests.unit.config.conftest import Check, Read

SAMPLE = (Path(__file__).parent / "old_plugin_sample.ini").read_bytes().decode()


@pytest.fixture
def uncommented(tmp_path: Path) -> str:
    """Return the sample with every setting line uncommented; its prose stays comment."""
    text, lines = re.subn(r"^;(?=\[\w+\]|\w+=)", "", SAMPLE, flags=re.MULTILINE)
    assert lines == 18
    return text.replace("/YOUR_HARAKA_INSTALLATION", str(tmp_path))


def test_the_sample_as_shipped_means_all_defaults(read_text: Read) -> None:
    assert read_text(SAMPLE) == read_text("")


def test_every_line_of_the_sample_does_what_its_comment_says(read_text: Read, uncommented: str, tmp_path: Path) -> None:
    settings = read_text(uncommented)
    assert settings.directory.path == tmp_path / "accounting_files"
    assert settings.names.extension == "csv"
    assert settings.rows.separator == ";"
    assert settings.rotation.archiving is True
    assert settings.rotation.interval_seconds == 86_400
    assert settings.rotation.max_size_bytes == 200_000_000
    assert settings.directory.location == {"delivered": "delivered", "deferred": "deferred", "bounce": "bounces"}
    assert settings.directory.archive_to == dict.fromkeys(("delivered", "deferred", "bounce"), "archive")
    common = "type timeLogged timeQueued rcpt srcMta srcIp destIp jobId dsnStatus dsnMsg"
    assert {name: " ".join(columns) for name, columns in settings.rows.columns.items()} == {
        "delivered": common,
        "deferred": f"{common} delay",
        "bounce": f"{common} bounceCat",
    }


def test_keys_that_the_sample_has_below_archive_to_are_warned_of(check_text: Check, uncommented: str) -> None:
    warnings = check_text(uncommented).warnings
    lines = uncommented.splitlines()
    assert [lines[(warning.line or 0) - 1] for warning in warnings] == ["archive_interval=86400", "max_size=200"]
