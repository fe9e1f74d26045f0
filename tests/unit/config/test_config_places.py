"""Places: each type in a directory of its own, every directory one that can be made and written."""

import os
import tempfile
from pathlib import Path

import pytest

from config import check
from tests.unit.config.conftest import Check

LOCATIONS = "[location]\ndelivered={}\ndeferred={}\nbounce={}\n"
NOBODY = 65_534


@pytest.mark.parametrize(
    ("delivered", "deferred", "bounce", "line"),
    [
        ("a", "a", "b", 3),
        ("a", "b", "/a/", 4),
        ("b", "a", "./a", 4),
        ("a", "a/deferred", "b", 3),
        ("a/archive", "b", "a", 4),
        ("deferred", "", "b", 2),
    ],
)
def test_two_types_in_one_directory_are_refused_where_the_second_is_given(
    check_text: Check, delivered: str, deferred: str, bounce: str, line: int
) -> None:
    report = check_text(LOCATIONS.format(delivered, deferred, bounce))
    assert [problem.line for problem in report.problems] == [line]
    assert "expected a directory of its own for each type" in str(report.problems[0])


def test_names_that_only_begin_alike_are_apart(check_text: Check) -> None:
    assert check_text(LOCATIONS.format("a", "ab", "a-b")).problems == ()


def test_two_types_in_one_directory_by_a_symbolic_link_are_refused(check_text: Check, tmp_path: Path) -> None:
    (tmp_path / "files" / "delivered").mkdir(parents=True)
    (tmp_path / "files" / "bounce").symlink_to("delivered")
    report = check_text("path=files\n[location]\nbounce=bounce")
    assert ["expected a directory of its own" in str(problem) for problem in report.problems] == [True]


def test_checking_creates_nothing(check_text: Check, tmp_path: Path) -> None:
    assert check_text("path=a/b/c\narchiving=true").problems == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.ini"]


@pytest.mark.parametrize("path", ["file", "file/below/it", "dangling", "dangling/below"])
def test_a_path_that_is_or_lies_below_no_directory_is_refused(check_text: Check, tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    report = check_text(f"path={path}")
    assert [(problem.line, problem.key) for problem in report.problems] == [(1, "path")]
    assert "is no directory: expected a directory that can be written" in str(report.problems[0])


def test_a_path_that_is_too_long_is_refused(check_text: Check) -> None:
    assert ["too long" in str(problem) for problem in check_text(f"path={'a' * 300}").problems] == [True]


@pytest.mark.parametrize(
    ("made", "text", "key"),
    [
        ("files/bounce", "path=files\n", ("location", "bounce")),
        ("files/bounce/archive", "path=files\narchiving=true\n", ("archive_to", "bounce")),
    ],
)
def test_a_file_in_the_place_of_a_directory_is_refused_by_that_directorys_key(
    check_text: Check, tmp_path: Path, made: str, text: str, key: tuple[str, str]
) -> None:
    (tmp_path / made).parent.mkdir(parents=True)
    (tmp_path / made).touch()
    assert [(problem.section, problem.key) for problem in check_text(text).problems] == [key]


def test_an_archive_that_is_not_used_is_not_looked_at(check_text: Check, tmp_path: Path) -> None:
    (tmp_path / "files" / "bounce").mkdir(parents=True)
    (tmp_path / "files" / "bounce" / "archive").touch()
    assert check_text("path=files").problems == ()


@pytest.mark.parametrize(("url", "keys"), [("", ["directory"]), ("redis://h", [])])
def test_the_bundled_servers_directory_counts_where_no_url_is_given(
    check_text: Check, tmp_path: Path, url: str, keys: list[str]
) -> None:
    (tmp_path / "file").touch()
    report = check_text(f"[redis]\nurl={url}\n[server]\ndirectory=file")
    assert [problem.key for problem in report.problems] == keys


def test_a_directory_without_permission_is_refused() -> None:
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as directory:  # not tmp_path: nobody else may enter that one
        Path(directory).chmod(0o755)
        closed, ini = Path(directory) / "closed", Path(directory) / "a.ini"
        closed.mkdir()
        closed.chmod(0o555)
        ini.write_text(f"path={closed}/files\n[redis]\nurl=redis://h", encoding="utf-8")
        os.seteuid(NOBODY if is_root else os.geteuid())
        try:
            report = check(ini, environ={})
        finally:
            os.seteuid(0 if is_root else os.geteuid())
    said = f"{ini}:1: path: {closed} cannot be written: expected a directory that can be written"
    assert list(map(str, report.problems)) == [said]
