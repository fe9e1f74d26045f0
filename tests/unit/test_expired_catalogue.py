"""The catalogue of expired files: what was noted is read again, whatever a crash did to its last line."""

from pathlib import Path

import pytest

from worker.catalogue import append, catalogue_path, ever_sealed, expired
from worker.inventory import Place
from worker.manifest import Manifest, encode, manifest_path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "delivered/archive").mkdir(parents=True)
    return Place("delivered", tmp_path / "delivered", tmp_path / "delivered/archive")


def manifest(name: str, rows: int = 1) -> Manifest:
    return Manifest(
        name=name, type="delivered", rows=rows, bytes=10, sha256="0" * 64, columns=["rcpt"], opened_ms=1, first_id=None,
        last_id=None, first_time_ms=1, last_time_ms=2, writer="w", directory="d", reason="size", version="0",
        format="tsv", separator="\t",
    )  # fmt: skip


def names(place: Place) -> list[str]:
    return [each.name for each in expired(place)]


def test_no_catalogue_means_that_nothing_has_expired(place: Place) -> None:
    assert names(place) == []


def test_what_was_noted_is_read_in_that_order_and_each_name_once(place: Place) -> None:
    append(place, [manifest("b"), manifest("a")])
    append(place, [manifest("b"), manifest("c")])
    assert names(place) == ["b", "a", "c"]


@pytest.mark.parametrize("cut", [1, 2, 50])
def test_a_torn_last_line_is_skipped_and_spoils_nothing_that_follows(place: Place, cut: int) -> None:
    append(place, [manifest("a"), manifest("b")])
    path = catalogue_path(place)
    path.write_bytes(path.read_bytes()[:-cut])
    assert names(place) == ["a"]
    append(place, [manifest("c")])
    assert names(place) == (["a", "b", "c"] if cut == 1 else ["a", "c"])


def test_a_file_whose_removal_was_interrupted_is_told_once(place: Place) -> None:
    manifest_path(place.archive / "a").write_bytes(encode(manifest("a")))
    manifest_path(place.archive / "b").write_bytes(encode(manifest("b")))
    append(place, [manifest("a"), manifest("gone")])
    assert [each.name for each in ever_sealed(place)] == ["a", "b", "gone"]
