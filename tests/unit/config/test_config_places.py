"""Places: each type in a directory of its own, every directory one that can be made and written."""

import os
import tempfile
from pathlib import Path

import pytest

from config import Purpose, check
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


def test_two_archives_that_a_symbolic_link_makes_one_are_refused(check_text: Check, tmp_path: Path) -> None:
    (tmp_path / "files" / "delivered" / "archive").mkdir(parents=True)
    (tmp_path / "files" / "bounce").mkdir()
    (tmp_path / "files" / "bounce" / "archive").symlink_to("../delivered/archive")
    report = check_text("path=files")
    assert ["links make it one directory for delivered and bounce" in str(each) for each in report.problems] == [True]


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


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("file://{path}/files", ""),
        ("file://{path}/files/", "keep_days=0"),
        ("file://{path}/files/backup", "keep_days=0"),
        ("FILE://{path}/files/{{directory}}", ""),
        ("file:{path}/files", ""),
        ("file://{path}/fil%65s/x", ""),
        ("file://{path}/link", ""),
        ("file://{path}/link/below", ""),
        ("file://{path}/files/recovered", ""),
        ("file://{path}/files/delivered/archive", ""),
        ("file://{path}", "[location]\ndelivered=files\n"),
        ("file://{path}/disk", "[location]\ndelivered=d\n"),
    ],
)
def test_copies_inside_the_directory_are_refused(check_text: Check, tmp_path: Path, url: str, text: str) -> None:
    (tmp_path / "files" / "delivered").mkdir(parents=True)
    (tmp_path / "disk" / "d").mkdir(parents=True)
    (tmp_path / "files" / "d").symlink_to(tmp_path / "disk" / "d")
    (tmp_path / "link").symlink_to("files")
    report = check_text(f"path=files\narchive_url={url.format(path=tmp_path)}\n{text}")
    assert [problem.key for problem in report.problems] == ["archive_url"], report.problems
    assert "expected a place that is not the original's" in str(report.problems[0])


def test_copies_inside_the_directory_are_refused_where_path_is_a_link_or_is_not_made_yet(
    check_text: Check, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "files").symlink_to("real")
    for text in (f"path=files\narchive_url=file://{tmp_path}/real", f"path=a/b\narchive_url=file://{tmp_path}/a/b/c"):
        assert [problem.key for problem in check_text(text).problems] == ["archive_url"]


@pytest.mark.parametrize("url", ["file://{path}/copies", "file://{path}/files2", "file://{path}", "s3://files/files"])
def test_copies_beside_the_directory_are_accepted(check_text: Check, tmp_path: Path, url: str) -> None:
    assert check_text(f"path=files\narchive_url={url.format(path=tmp_path)}\nkeep_days=0").problems == ()


def test_copies_where_nothing_can_be_made_are_refused(check_text: Check, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url in (f"file://{tmp_path}/file", f"file://{tmp_path}/file/{{directory}}/x"):
        report = check_text(f"archive_url={url}")
        assert ["file is no directory: expected" in str(each) for each in report.problems] == [True]


@pytest.mark.parametrize("directory", ["files", "files/bounce", "files/bounce/archive/x"])
def test_a_bundled_server_among_accounting_files_is_refused(check_text: Check, directory: str) -> None:
    report = check_text(f"path=files\n[server]\ndirectory={directory}")
    assert [problem.key for problem in report.problems] == ["directory"]


def test_a_bundled_server_beside_the_locations_is_accepted(check_text: Check) -> None:
    assert check_text("path=.\n").problems == ()


def test_who_only_reads_needs_no_directory_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.ini").write_text("path=file/x\n[server]\ndirectory=file/y\n")
    for purpose, keys in ((Purpose.WORK, ["path", "directory"]), (Purpose.TIDY, ["path"]), (Purpose.READ, [])):
        report = check(tmp_path / "a.ini", purpose=purpose, environ={})
        assert [problem.key for problem in report.problems] == keys


def test_a_directory_without_permission_is_refused() -> None:
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as directory:  # not tmp_path: nobody else may enter that one
        Path(directory).chmod(0o755)
        closed, ini = Path(directory) / "closed", Path(directory) / "a.ini"
        closed.mkdir()
        closed.chmod(0o555)
        ini.write_text(f"path={closed}/files\n[redis]\nurl=redis://h", encoding="utf-8")
        check(ini, environ={})  # loads what that user may not be able to read: Python remembers what it could not load
        os.seteuid(NOBODY if is_root else os.geteuid())
        try:
            report = check(ini, environ={})
        finally:
            os.seteuid(0 if is_root else os.geteuid())
    said = f"{ini}:1: path: {closed} cannot be written: expected a directory that can be written"
    assert list(map(str, report.problems)) == [said]
