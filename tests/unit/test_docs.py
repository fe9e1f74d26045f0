"""The documents name what there is: commands with their options, keys of the configuration, files of the tests."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from config.ini import Entry, read
from config.keys import KEYS
from worker.audit.finding import Kind
from worker.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "haraka" / "plugin"
DOCUMENTS = [ROOT / "README.md", PLUGIN / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [
    *(path for name in ("worker", "config", "schemas", "bench") for path in (ROOT / name).rglob("*.*")),
    *(path for name in ("lib", "bench", "config") for path in (PLUGIN / name).iterdir()),
    PLUGIN / "index.js",
]

# Of other programs: a file of Haraka's configuration, its API; options of the commands haraka, node, npm and pip-audit.
HARAKAS = {"plugin_timeout", "flush_queue"}
NOT_OURS = {"--qunstick", "--ignore-scripts", "--omit", "--test", "--no-deps", "--disable-pip"}

OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
CALL = re.compile(r"haraka-accounting +([a-z]+(?: [a-z]+)?)([^`#]*?)(?:`|#|   |$)")
QUOTED = re.compile(r"`([^`\n]+)`")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def commands(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    """Yield every command with its options."""
    yield name, frozenset(option for each in command.params for option in (*each.opts, *each.secondary_opts))
    if isinstance(command, click.Group):
        for word, each in command.commands.items():
            yield from commands(each, f"{name} {word}".strip())


OPTIONS = dict(commands())


def plugin_keys() -> set[tuple[str, str]]:
    text = (PLUGIN / "config" / "accounting_stream.ini").read_text()
    return {(item.section, item.key) for item in read(text) if isinstance(item, Entry)}


@cache
def words() -> frozenset[str]:
    """Return every word of the code, and the names of its files and of those of the tests."""
    files = [path for path in CODE if path.suffix in {".py", ".js", ".lua", ".ini", ".conf", ".sh", ".acl", ".yaml"}]
    found = {word for path in files for word in re.findall(r"\w+", path.read_text())}
    tests = {path.name.partition(".")[0] for path in (PLUGIN / "test").glob("*.js")}
    return frozenset(found | tests | {path.stem for path in (*files, *(ROOT / "tests").rglob("*.py"))})


@every_document
def test_every_command_that_a_document_shows_has_the_options_that_it_shows(document: Path) -> None:
    everywhere = frozenset().union(*OPTIONS.values())
    for line in document.read_text().splitlines():
        for called, arguments in CALL.findall(line):
            command = called if called in OPTIONS else called.partition(" ")[0]
            assert command in OPTIONS, line
            assert set(OPTION.findall(arguments)) <= OPTIONS[command] | {"--help"}, line
        if "docker" not in line:
            assert {option for option in OPTION.findall(line) if option.startswith("--")} <= everywhere | NOT_OURS, line


@every_document
def test_every_key_that_a_document_names_with_its_section_is_read(document: Path) -> None:
    known = {*KEYS, *plugin_keys()}
    known |= {("server", "host"), ("server", "port"), ("opts", "host")}  # of Haraka's redis.ini
    for section, key in re.findall(r"`\[([a-z_]+)\] ([a-z_]+)", document.read_text()):
        assert (section, key) in known


@every_document
def test_every_name_with_an_underscore_that_a_document_quotes_stands_in_the_code(document: Path) -> None:
    quoted = " ".join(QUOTED.findall(document.read_text()))
    assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", quoted)) - HARAKAS <= words()


def test_every_kind_of_finding_is_explained() -> None:
    text = (ROOT / "docs" / "audit.md").read_text()
    assert [kind for kind in Kind if f"`{kind}`" not in text] == []
