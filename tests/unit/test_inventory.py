"""What the inventory of a directory lists, and that contents read the same whatever form they stand in."""

import gzip
from pathlib import Path

import pytest
import zstandard

from worker.inventory import Place, lines, sealed, unsealed
from worker.manifest import BadManifest, Compressed, Manifest, encode, manifest_path
from worker.records import Closing, FileState, Record

ROWS = [b"rcpt\n", *(f"u{number}@example.com\n".encode() for number in range(1000))]
CONTENT = b"".join(ROWS)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "delivered/archive").mkdir(parents=True)
    return Place("delivered", tmp_path / "delivered", tmp_path / "delivered/archive")


def manifest(name: str, compressed: Compressed | None = None) -> Manifest:
    return Manifest(
        name=name, type="delivered", rows=1000, bytes=len(CONTENT), sha256="0" * 64, columns=["rcpt"], opened_ms=1,
        first_id="1-0", last_id="2-0", first_time_ms=1, last_time_ms=2, writer="w", directory="d", reason="size",
        version="0", format="tsv", separator="\t", compressed=compressed,
    )  # fmt: skip


def put(directory: Path, name: str, ending: str = "") -> None:
    compressed = Compressed(name=name + ending, bytes=0, sha256="0" * 64) if ending else None
    content = {"": CONTENT, ".gz": gzip.compress(CONTENT), ".zst": zstandard.compress(CONTENT)}[ending]
    (directory / (name + ending)).write_bytes(content)
    manifest_path(directory / name).write_bytes(encode(manifest(name, compressed)))


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_the_lines_of_a_sealed_file_are_the_same_in_every_form(place: Place, ending: str) -> None:
    put(place.archive, "d.tsv", ending)
    [stored] = sealed(place)
    assert list(lines(stored)) == ROWS


def test_a_file_in_the_middle_of_its_move_is_listed_once_and_as_archived(place: Place) -> None:
    put(place.open, "d.tsv")
    put(place.archive, "d.tsv")
    assert [stored.path for stored in sealed(place)] == [place.archive / "d.tsv"]


def test_an_open_file_counts_up_to_its_recorded_length(place: Place) -> None:
    (place.open / "d.tsv").write_bytes(CONTENT + b"uncommitted@example.com\nand a torn ro")
    state = FileState(name="d.tsv", inode=1, length=len(CONTENT), rows=1000, opened_ms=1)
    [stored] = unsealed(place, [Record(files={"delivered": state})])
    assert list(lines(stored)) == ROWS


def test_files_named_under_closing_are_listed_by_their_type(place: Place) -> None:
    state = FileState(name="d.tsv", inode=1, length=5, opened_ms=1)
    closing = [Closing(event_type=name, reason="size", file=state) for name in ("delivered", "bounce")]
    assert [stored.event_type for stored in unsealed(place, [Record(closing=closing)])] == ["delivered"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_told_by_its_path(place: Place, content: bytes) -> None:
    (place.archive / "d.tsv.json").write_bytes(content)
    with pytest.raises(BadManifest, match=r"archive/d\.tsv\.json: not a manifest"):
        list(sealed(place))
    bad: list[BadManifest] = []
    put(place.archive, "good.tsv")
    assert [stored.path.name for stored in sealed(place, bad)] == ["good.tsv"]
    assert len(bad) == 1


@pytest.mark.parametrize(
    ("named", "expected"), [("passwd", r"expected 'd\.tsv'"), ("../../etc/passwd", "not a manifest")]
)
def test_a_manifest_that_names_another_file_is_bad(place: Place, named: str, expected: str) -> None:
    (place.archive / "d.tsv.json").write_bytes(encode(manifest(named)))
    with pytest.raises(BadManifest, match=expected):
        list(sealed(place))


@pytest.mark.parametrize(
    ("named", "expected"), [("passwd", r"expected d\.tsv\.zst or \.gz"), ("../../etc/passwd", "not a manifest")]
)
def test_a_manifest_whose_compressed_form_is_elsewhere_is_bad(place: Place, named: str, expected: str) -> None:
    elsewhere = Compressed(name=named, bytes=0, sha256="0" * 64)
    (place.archive / "d.tsv.json").write_bytes(encode(manifest("d.tsv", elsewhere)))
    with pytest.raises(BadManifest, match=expected):
        list(sealed(place))
