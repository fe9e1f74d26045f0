"""Nothing is deleted that is not proven to stand elsewhere: copies that are none, and files that are not as sealed."""

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.janitor.lab import Lab
from worker.janitor import Done
from worker.janitor.copies import Copies
from worker.manifest import manifest_path


def troubles(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def the_directory(lab: Lab, _base: Path) -> str:
    return lab.path.as_uri()


def with_a_slash(lab: Lab, _base: Path) -> str:
    return lab.path.as_uri() + "/"


def a_place_in_it(lab: Lab, _base: Path) -> str:
    return lab.delivered.archive.as_uri()


def something_in_it(lab: Lab, _base: Path) -> str:
    return (lab.path / "not/made/yet").as_uri()


def a_link_to_it(lab: Lab, base: Path) -> str:
    (base / "link").symlink_to(lab.path)
    return (base / "link").as_uri()


def below_a_link_to_it(lab: Lab, base: Path) -> str:
    (base / "link").symlink_to(lab.delivered.open)
    return (base / "link/archive").as_uri()


def links_inside(lab: Lab, base: Path) -> str:
    (base / "store").mkdir()
    (base / "store/delivered").symlink_to(lab.delivered.archive)
    return (base / "store").as_uri()


def its_parent_where_the_key_leads_into_it(lab: Lab, base: Path) -> str:
    lab.path.rename(base / "delivered")
    lab.path.symlink_to(base / "delivered")
    return base.as_uri()


STORES = [
    the_directory, with_a_slash, a_place_in_it, something_in_it, a_link_to_it, below_a_link_to_it, links_inside,
    its_parent_where_the_key_leads_into_it,
]  # fmt: skip


@pytest.mark.parametrize("make_url", STORES)
@pytest.mark.parametrize("archiving", [True, False])
def test_a_store_inside_the_directory_by_whatever_way_takes_no_file_and_nothing_goes(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture, make_url: Callable[[Lab, Path], str], *, archiving: bool
) -> None:
    lab.seal(lab.delivered.archive if archiving else lab.delivered.open, "d.1")
    before = lab.standing()
    base = tmp_path / "base"
    base.mkdir()
    janitor = lab.janitor(archiving=archiving, archive_url=make_url(lab, base), keep_days=0, keep_bytes=1)
    for _ in range(3):
        assert janitor.run() == Done()
    [line] = troubles(caplog)
    assert "lies inside" in line
    assert "expected a store elsewhere" in line
    assert lab.standing() == before
    assert not (lab.path / "not").exists()


@pytest.fixture
def mounted(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """Return a second way to the archive of the directory: a bind mount."""
    point = tmp_path / "mounted"
    point.mkdir()
    done = subprocess.run(["mount", "--bind", lab.delivered.archive, point], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs the right to mount")
    yield point
    subprocess.run(["umount", point], check=True)


def test_a_bind_mount_of_a_place_is_that_place(lab: Lab, mounted: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    assert lab.janitor(archive_url=(mounted / "x").as_uri(), keep_days=0).run() == Done()
    assert "lies inside" in troubles(caplog)[0]
    assert path.exists()


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_object_that_is_the_file_by_another_name_is_no_copy(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture, link: Callable[[Path, Path], None]
) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    (tmp_path / "store/delivered").mkdir(parents=True)
    link(path, tmp_path / "store/delivered/d.1")
    assert lab.janitor(archive_url=(tmp_path / "store").as_uri(), keep_days=0).run() == Done()
    assert "expected a store elsewhere" in troubles(caplog)[0]
    assert path.exists()


def test_an_object_that_is_a_link_to_a_copy_inside_the_directory_is_no_copy(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    (lab.path / "kept").write_bytes(path.read_bytes())
    (tmp_path / "store/delivered").mkdir(parents=True)
    (tmp_path / "store/delivered/d.1").symlink_to(lab.path / "kept")
    assert lab.janitor(archive_url=(tmp_path / "store").as_uri(), keep_days=0).run() == Done()
    assert "lies inside" in troubles(caplog)[0]
    assert path.exists()


def test_an_object_that_became_the_file_itself_after_the_upload_is_none_any_more(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = lab.seal(lab.delivered.archive, "d.1", days_old=9)
    store: dict[str, Any] = {"archive_url": (tmp_path / "store").as_uri()}
    assert lab.tidy(**store).uploaded == 1
    copy = tmp_path / "store/delivered/d.1"
    copy.unlink()
    os.link(path, copy)
    assert lab.janitor(**store, keep_days=1).run() == Done()
    assert f"is {path} itself" in troubles(caplog)[0]
    assert path.exists()


def test_a_copy_that_is_gone_once_the_file_is_away_keeps_the_file(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that shows the directory a second time, under other numbers."""
    path = lab.seal(lab.delivered.archive, "d.1", days_old=9)
    store: dict[str, Any] = {"archive_url": (tmp_path / "store").as_uri()}
    assert lab.tidy(**store).uploaded == 1
    real = Copies.require_without

    def require_without(copies: Copies, stored: Any, aside: Path) -> None:
        (tmp_path / "store/delivered/d.1").unlink()
        real(copies, stored, aside)

    monkeypatch.setattr(Copies, "require_without", require_without)
    assert lab.janitor(**store, keep_days=1).run() == Done()
    assert "is not there" in troubles(caplog)[0]
    assert list(lab.standing()) == [str(path.relative_to(lab.path))]


def test_a_store_whose_volume_is_not_mounted_is_not_written_into(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    root, volume = tmp_path / "store", tmp_path / "volume"
    store: dict[str, Any] = {"archive_url": root.as_uri(), "keep_days": 5}
    assert lab.tidy(**store) == Done(uploaded=1, expired=1)
    root.rename(volume)
    lab.seal(lab.delivered.archive, "d.2", days_old=9)
    janitor = lab.janitor(**store)
    assert janitor.run() == Done()
    root.mkdir()
    assert janitor.run() == Done()
    assert list(root.iterdir()) == []
    [line] = troubles(caplog)
    assert "is its volume mounted?" in line
    root.rmdir()
    volume.rename(root)
    lab.pass_time(days=5)
    assert janitor.run() == Done(uploaded=1, expired=1)


def test_who_says_so_begins_a_store_anew(lab: Lab, tmp_path: Path) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=9)
    root = tmp_path / "store"
    store: dict[str, Any] = {"archive_url": root.as_uri()}
    assert lab.tidy(**store).uploaded == 1
    root.rename(tmp_path / "old")
    (lab.path / ".stores").unlink()
    assert lab.tidy(**store, keep_days=5).expired == 1
    assert (root / "delivered/d.1").exists()


def test_directories_can_share_a_store_of_this_machine(lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other")
    for each, name in ((lab, "d.1"), (other, "d.2")):
        each.seal(each.delivered.archive, name)
        assert each.tidy(archive_url=(tmp_path / "store").as_uri(), keep_days=0) == Done(uploaded=1, expired=1)


def alter(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [alter, append, empty])
@pytest.mark.parametrize("wish", [{"keep_days": 1}, {"keep_bytes": 1}, {"keep_days": 1, "compress": "gzip"}])
def test_a_file_that_is_not_as_it_was_sealed_never_expires(
    lab: Lab, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], wish: dict[str, Any]
) -> None:
    path = lab.seal(lab.delivered.archive, "d.1", days_old=9)
    if "compress" in wish:
        lab.tidy(compress="gzip")
        path = path.with_name("d.1.gz")
    path.chmod(0o640)
    harm(path)
    path.chmod(0o440)
    janitor = lab.janitor(**wish)
    for _ in range(3):
        assert janitor.run() == Done()
        lab.pass_time(days=1)
    [line] = troubles(caplog)
    assert f"{path.name} is not what its manifest says, and is kept" in line
    assert path.exists()
    assert manifest_path(lab.delivered.archive / "d.1").exists()


def test_a_file_that_is_not_as_it_was_sealed_is_not_uploaded(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    content = path.read_bytes()
    path.chmod(0o640)
    alter(path)
    path.chmod(0o440)
    janitor = lab.janitor(archive_url=(tmp_path / "store").as_uri())
    assert janitor.run() == Done()
    assert "not what its manifest says" in troubles(caplog)[0]
    assert not (tmp_path / "store/delivered").exists()
    path.chmod(0o640)
    path.write_bytes(content)  # mended, and its key is free
    path.chmod(0o440)
    lab.pass_time(hours=1)
    assert janitor.run() == Done(uploaded=1)


def test_a_file_whose_copy_is_good_and_which_is_not_as_it_was_sealed_stays_as_well(lab: Lab, tmp_path: Path) -> None:
    path = lab.seal(lab.delivered.archive, "d.1", days_old=9)
    store: dict[str, Any] = {"archive_url": (tmp_path / "store").as_uri()}
    lab.tidy(**store)
    path.chmod(0o640)
    append(path)
    path.chmod(0o440)
    assert lab.janitor(**store, keep_days=1).run() == Done()
    assert path.exists()


@pytest.mark.parametrize("where", [".", "../delivered"])
def test_an_archive_that_is_the_location_itself_takes_no_file_and_nothing_goes(
    lab: Lab, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    path = lab.seal(lab.delivered.open, "d.1")
    lab.delivered.archive.rmdir()
    lab.delivered.archive.symlink_to(where)
    content = path.read_bytes()
    janitor = lab.janitor()
    for _ in range(2):
        assert janitor.run() == Done()
    assert path.read_bytes() == content
    assert manifest_path(path).exists()
    [line] = troubles(caplog)
    assert "is the location itself" in line


def test_a_link_in_the_archive_that_leads_to_the_file_is_not_taken_for_a_copy(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    path = lab.seal(lab.delivered.open, "d.1")
    content = path.read_bytes()
    (lab.delivered.archive / "d.1").symlink_to(path)
    lab.janitor().run()
    assert path.read_bytes() == content
    assert "stands in the way" in troubles(caplog)[0]


def test_a_link_in_the_place_of_a_compressed_form_is_none(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    path.with_name("d.1.gz").symlink_to(path)
    lab.janitor(compress="gzip").run()
    assert "no regular file" in troubles(caplog)[0]
    assert path.exists()


@pytest.mark.parametrize("where", ["delivered/archive/d.1.gz", "delivered/archive/d.1", "store/delivered/d.1"])
def test_a_pipe_in_the_way_does_not_hold_up_the_janitor(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    path = lab.seal(lab.delivered.archive if where.endswith("gz") else lab.delivered.open, "d.1")
    pipe = tmp_path / where if where.startswith("store") else lab.path / where
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    lab.janitor(
        compress="gzip" if where.endswith("gz") else "none",
        archive_url=(tmp_path / "store").as_uri() if where.startswith("store") else None,
    ).run()
    assert any(word in troubles(caplog)[0] for word in ("no regular file", "is another file"))
    assert path.exists() or (lab.delivered.archive / "d.1").exists()
