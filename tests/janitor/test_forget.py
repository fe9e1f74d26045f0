"""Forgetting in sealed files: in each state in which a janitor can have died, and what later steps make of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.janitor.lab import Lab
from tests.support.sealed import compress
from worker.archive import READ_ONLY
from worker.erasure.lines import Eraser
from worker.erasure.matching import MARK
from worker.inventory import Stored, lines
from worker.janitor import Done, forget
from worker.janitor.held import Unfit
from worker.manifest import Forgotten, Manifest, form_of, manifest_path
from worker.settings import Format

ANN = "d.1-7@example.com"


def entry(before: Manifest, rows: int) -> Forgotten:
    return Forgotten(
        at_ms=1, reason="a test", note="1.json", rows=rows, salt="s", digest="0" * 64, bytes=before.bytes,
        sha256=before.sha256,
    )  # fmt: skip


def forgotten(lab: Lab, address: str = ANN) -> Stored:
    """Take an address out of the only file, as `forget` does."""
    place = lab.delivered
    forget.prepare(place)
    eraser = Eraser(Format.TSV, "\t", ("rcpt",), lambda each: each == address)
    return forget.rewrite(lab.stored("d.1"), place, eraser, entry)


def holding(lab: Lab, address: str = ANN) -> list[Path]:
    return [file for file in lab.path.rglob("*") if file.is_file() and address.encode() in file.read_bytes()]


def is_copied_to_the_archive(lab: Lab) -> None:
    os.link(lab.seal(lab.delivered.open, "d.1"), lab.delivered.archive / "d.1")


def has_not_left_the_location(lab: Lab) -> None:
    path = lab.seal(lab.delivered.open, "d.1")
    for file in (path, manifest_path(path)):
        os.link(file, lab.delivered.archive / file.name)


def has_left_its_manifest(lab: Lab) -> None:
    has_not_left_the_location(lab)
    (lab.delivered.open / "d.1").unlink()


def has_its_compressed_form_beside_it(lab: Lab) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    content, manifest = path.read_bytes(), manifest_path(path).read_bytes()
    compress(path, ".gz")
    path.write_bytes(content)
    path.chmod(READ_ONLY)
    manifest_path(path).write_bytes(manifest)
    path.with_name("d.1.gz").chmod(READ_ONLY)


def has_its_plain_form_left(lab: Lab) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    content = path.read_bytes()
    compress(path, ".zst")
    path.with_name("d.1.zst").chmod(READ_ONLY)
    path.write_bytes(content)
    path.chmod(READ_ONLY)


def is_away_from_its_name(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.1").rename(lab.delivered.archive / ".expiring.d.1")


def has_a_form_that_nobody_finished(lab: Lab) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    path.with_name("d.1.forgotten-1").write_bytes(path.read_bytes())
    path.with_name("d.1.forgotten-1").chmod(READ_ONLY)


@pytest.mark.parametrize(
    "state",
    [
        is_copied_to_the_archive, has_not_left_the_location, has_left_its_manifest, has_its_compressed_form_beside_it,
        has_its_plain_form_left, is_away_from_its_name, has_a_form_that_nobody_finished,
    ],
)  # fmt: skip
def test_whatever_a_death_left_no_form_of_the_file_holds_the_address(lab: Lab, state: Callable[[Lab], None]) -> None:
    state(lab)
    done = forgotten(lab)
    assert done.manifest
    assert [each.rows for each in done.manifest.forgotten] == [1]
    assert not holding(lab)
    lab.tidy()
    [rows] = lab.standing().values()
    assert (len(rows), rows.count(MARK.encode() + b"\n")) == (101, 1)


def test_a_second_address_gets_another_name_and_a_third_run_does_nothing(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.1")
    forgotten(lab)
    before = forgotten(lab, "d.1-8@example.com")
    assert before.content_path.name == "d.1.forgotten-2"
    assert forgotten(lab) == before
    assert lab.standing().keys() == {"delivered/archive/d.1.forgotten-2"}


def test_a_rewritten_file_is_compressed_uploaded_and_expires_like_any_other(lab: Lab, tmp_path: Path) -> None:
    store = f"file://{tmp_path}/store"
    lab.seal(lab.delivered.open, "d.1")
    lab.tidy(archive_url=store)
    assert forgotten(lab).manifest
    assert lab.tidy(compress="zstd", archive_url=store) == Done(compressed=1, uploaded=1)
    done = lab.stored("d.1")
    assert done.content_path.name == "d.1.forgotten-1.zst"
    assert list(lines(done)).count(MARK.encode() + b"\n") == 1
    assert (tmp_path / "store" / "delivered" / "d.1.forgotten-1.zst").is_file()
    assert lab.tidy(archive_url=store, keep_days=0) == Done(expired=1)
    assert not lab.standing()


def test_a_file_that_is_not_as_it_was_sealed_is_not_touched(lab: Lab) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    path.chmod(0o640)
    path.write_bytes(path.read_bytes().replace(b"d.1-9@", b"d.1-0@"))
    path.chmod(READ_ONLY)
    before = path.read_bytes()
    with pytest.raises(Unfit):
        forgotten(lab)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d.1", ("d.1", 0)), ("d.1.zst", ("d.1", 0)), ("d.1.forgotten-1", ("d.1", 1)),
        ("d.1.forgotten-12.gz", ("d.1", 12)),
        ("d.1.forgotten-0", ("d.1.forgotten-0", 0)), ("d.1.forgotten-x", ("d.1.forgotten-x", 0)), ("", ("", 0)),
    ],
)  # fmt: skip
def test_a_name_tells_which_file_it_is_a_form_of(name: str, expected: tuple[str, int]) -> None:
    assert form_of(name) == expected
