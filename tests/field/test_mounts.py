"""A and B with real mounts: volumes that are missing, there twice, full. Needs the right to mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.field import copying
from tests.field.site import Site, content
from worker.errors import ExitCode

MB = 1_000_000


class Volumes:
    """Mounts that are undone with the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def make(self, place: Path, size_mb: int = 64) -> None:
        """Mount an empty file system of its own on a directory."""
        place.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={size_mb}m", "none", str(place))
        self._undo(place)

    def bind(self, source: Path, place: Path) -> None:
        """Let a directory be seen in a second place."""
        place.mkdir()
        _mount("--bind", str(source), str(place))
        self._undo(place)

    def take_to(self, place: Path, other: Path) -> None:
        """Mount elsewhere what is mounted somewhere; a bare directory is left behind."""
        other.mkdir(exist_ok=True)
        _mount("--bind", str(place), str(other))
        self._undo(other)
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)

    def _undo(self, place: Path) -> None:
        self._stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=False, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    with ExitStack() as stack:
        made = Volumes(stack)
        try:
            made.make(tmp_path / "may-this-user-mount")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"needs the right to mount: {error}")
        yield made


def test_a_volume_that_is_not_mounted_at_a_start_is_told_and_nothing_is_made_in_its_place(
    site: Site, volumes: Volumes
) -> None:
    volumes.make(site.path)
    worker = site.started(min_free_mb=1)
    site.write(30)
    site.stop(worker)
    volumes.take_to(site.path, site.base / "aside")
    code, said = site.refused(worker)
    assert code == ExitCode.DIRECTORY_REFUSED, said
    assert list(site.path.iterdir()) == []
    site.path.rmdir()
    volumes.bind(site.base / "aside", site.path)
    worker.start()
    site.write(3)
    site.check(worker)


@pytest.mark.parametrize("place", ["delivered", "delivered/archive"])
def test_a_place_on_a_volume_of_its_own_that_is_not_mounted_is_told_and_nothing_is_made_in_it(
    site: Site, volumes: Volumes, place: str
) -> None:
    volumes.make(site.path / place)
    worker = site.started(min_free_mb=1)
    site.write(9)
    site.stop(worker)
    volumes.take_to(site.path / place, site.base / "aside")
    before = content(site.path / place)
    worker.start(ready=False)
    site.wait(lambda: "which is not mounted" in worker.log() or not worker.is_alive(), "the volume is missed")
    assert "which is not mounted" in worker.log(), worker.log()
    assert content(site.path / place) == before == {}
    worker.kill()
    volumes.bind(site.base / "aside", site.path / "again")
    _mount("--move", str(site.path / "again"), str(site.path / place))
    (site.path / "again").rmdir()
    worker.start()
    site.write(3)
    site.stop(worker)
    assert site.rows() == site.expected()


def test_a_directory_that_is_mounted_twice_is_one_directory(site: Site, volumes: Volumes) -> None:
    worker = site.started()
    site.write(9)
    twin = site.base / "twin"
    volumes.bind(site.path, twin)
    code, said = site.refused(site.worker(path=twin))
    assert code == ExitCode.LOCKED, said
    second = site.started("worker-2", twin)
    site.write(30)
    worker.kill()
    site.told(second, "file.orphan")
    site.write(9)
    site.check(second)


def test_a_directory_that_was_moved_to_a_disk_without_room_goes_on_once_there_is_some(
    site: Site, volumes: Volumes
) -> None:
    worker = site.started()
    site.write(30)
    worker.kill()
    small = site.base / "small"
    volumes.make(small, 16)
    copying.cp(site.path, small / "files")
    room = os.statvfs(small)
    filler = small / "filler"
    filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize))
    moved = site.worker(path=small / "files", min_free_mb=1)
    moved.start(ready=False)
    site.wait(lambda: "No space left" in moved.log() or "MB free" in moved.log() or not moved.is_alive(), "no room")
    moved.kill()
    filler.unlink()
    moved.start()
    site.write(9, paths=[small / "files"])
    site.check(moved, paths=[small / "files"])
