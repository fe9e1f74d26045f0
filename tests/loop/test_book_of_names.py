"""The book of names, spoiled or lost: that is told, and no name is used a second time (protocol traps 16 and 36)."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.support.files import check_manifest, data_files, sealed_files
from tests.support.workers import drain, settings
from worker import catalogue
from worker.inventory import Place, sealed
from worker.janitor.compress import compress
from worker.naming import Stamp
from worker.settings import Compression

Spoil = Callable[[Path], object]

SPOILED: dict[str, Spoil] = {
    "empty": lambda book: book.write_bytes(b""),
    "torn": lambda book: book.write_bytes(book.read_bytes()[:-9]),
    "garbage": lambda book: book.write_bytes(b"\xff\x00" * 50),
    "nested": lambda book: book.write_bytes(b"[" * 100_000),
    "another's": lambda book: book.write_bytes(b'{"last":"yesterday"}'),
}


def book_of(lab: Lab) -> Path:
    return lab.path / "delivered" / ".names"


def stamp(file: Path) -> Stamp:
    """Return what orders names."""
    found = Stamp.parse(file.name.removeprefix("d.").removesuffix(".tsv"))
    assert found
    return found


def fill(lab: Lab, name: str = "worker-1") -> None:
    """Let a worker write a row of each type and die."""
    worker = lab.worker(settings(lab.path, name=name))
    lab.publisher.publish_some(3)
    drain(worker, 3)
    lab.die(worker)


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_book_that_cannot_be_read_is_told_kept_and_begun_anew(
    lab: Lab, caplog: pytest.LogCaptureFixture, spoil: Spoil
) -> None:
    worker = lab.worker()
    spoil(book_of(lab))
    spoiled = book_of(lab).read_bytes()
    lab.clock.now += 60
    worker.step()  # it looks for what the dead left
    assert caplog.text.count("names.unreadable why") == 1
    assert book_of(lab).with_name(".names.unreadable.1").read_bytes() == spoiled
    lab.clock.now += 60
    worker.step()
    lab.publisher.publish_some(3)
    drain(worker, 3)
    assert caplog.text.count("names.unreadable why") == 1


@pytest.mark.parametrize("spoil", [*SPOILED.values(), Path.unlink], ids=[*SPOILED, "lost"])
@pytest.mark.parametrize("days", [-400, 0])
def test_trap_16_no_name_is_used_twice_whatever_was_lost_and_wherever_the_clock_is_set(
    lab: Lab, spoil: Spoil, days: int
) -> None:
    fill(lab)
    lab.stop(lab.worker())
    [expired] = sealed_files(lab.path, "delivered")
    place = Place("delivered", lab.path / "delivered", lab.path / "delivered" / "archive")
    catalogue.append(place, [check_manifest(expired)])
    for path in (expired, expired.with_name(f"{expired.name}.json")):
        path.unlink()
    spoil(book_of(lab))
    lab.clock.wall_is_ahead = days * 86_400
    lab.worker()
    [file] = data_files(lab.path, "delivered")
    assert stamp(file) > stamp(expired)


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_trap_36_the_name_of_a_file_that_was_unlinked_is_not_used_again_though_its_book_cannot_be_read(
    lab: Lab, spoil: Spoil
) -> None:
    location = lab.worker()._directory.locations["delivered"]
    now = datetime.now(UTC)
    unlinked = [location.create("worker-1", b"type\n", "", now).path for _ in range(3)]
    for path in unlinked:
        path.unlink()
    spoil(book_of(lab))
    assert stamp(location.create("worker-1", b"type\n", "", now - timedelta(days=1)).path) > stamp(unlinked[-1])


def test_the_name_of_a_compressed_file_is_seen_by_its_manifest(lab: Lab) -> None:
    fill(lab)
    lab.stop(lab.worker())
    place = Place("delivered", lab.path / "delivered", lab.path / "delivered" / "archive")
    [stored] = sealed(place)
    compress(stored, place, Compression.ZSTD)
    book_of(lab).unlink()
    lab.clock.wall_is_ahead = -86_400
    lab.worker()
    [file] = [file for file in data_files(lab.path, "delivered") if file.suffix == ".tsv"]
    assert stamp(file) > stamp(stored.path)


def test_files_of_the_dead_are_sealed_though_the_book_that_named_them_cannot_be_read(lab: Lab) -> None:
    other = lab.worker(settings(lab.path, name="other"))
    fill(lab, "dead")
    lab.client.delete(lab.keys.lease("dead"))
    SPOILED["empty"](book_of(lab))
    os.utime(book_of(lab), (0, 0))
    lab.clock.now += 60
    other.step()
    [file] = sealed_files(lab.path, "delivered")
    assert check_manifest(file).reason == "orphan"


def test_foreign_files_stay_as_they_are_where_the_book_cannot_be_read(lab: Lab) -> None:
    worker = lab.worker()
    foreign = lab.path / "delivered" / "d.2017-06-16-125059.tsv"
    foreign.write_text("the old plugin's")
    SPOILED["empty"](book_of(lab))
    for _ in range(2):
        lab.clock.now += 60
        worker.step()
    assert foreign.read_text() == "the old plugin's"


def test_a_name_that_stands_in_another_location_of_the_type_is_not_used(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.clock, "wall", lambda: 1_795_373_300.0)  # all within a second
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.die(worker)
    lab.configure("directory", location={name: f"open/{name}" for name in TYPES})
    worker = lab.worker()
    lab.publisher.publish_some(3)
    drain(worker, 3)
    lab.stop(worker)
    files = [each.name for each in lab.path.rglob("*.tsv")]
    assert len(files) == len(set(files)) == 6
