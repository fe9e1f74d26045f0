"""What is shipped: the default ini and the reference say what the code does."""

from pathlib import Path

import pytest

from config.__main__ import GENERATED
from config.ini import Entry, read
from config.keys import KEYS
from config.shipped import default_ini, reference
from tests.unit.config.conftest import Check, Read


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_the_committed_file_is_what_the_code_makes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path]()


def test_the_shipped_ini_means_the_defaults(read_text: Read, check_text: Check) -> None:
    assert read_text(default_ini()) == read_text("")
    assert check_text(default_ini()).warnings == ()


def test_the_shipped_ini_states_every_key_once_in_the_order_of_the_table() -> None:
    text = "\n".join(line.removeprefix(";") for line in default_ini().splitlines() if not line.startswith("; "))
    assert [(item.section, item.key) for item in read(text) if isinstance(item, Entry)] == list(KEYS)


def test_what_the_shipped_ini_comments_out_is_what_has_no_default_of_its_own() -> None:
    stated = {(item.section, item.key): item.value for item in read(default_ini()) if isinstance(item, Entry)}
    assert stated == {key.id: key.default for key in KEYS.values() if key.default}
    assert all(key.otherwise for key in KEYS.values() if not key.default)


@pytest.mark.parametrize("key", KEYS.values(), ids=map(".".join, KEYS))
def test_every_example_is_fit_and_differs_from_the_default(key: object) -> None:
    named = KEYS[key.id]  # type: ignore[attr-defined]
    assert named.parse(named.example) != named.parse(named.default)


def test_the_reference_names_every_key_with_its_default() -> None:
    text = reference()
    for key in KEYS.values():
        assert f"| `{key.name}` | {f'`{key.default}`' if key.default else key.otherwise} |" in text
