"""Whatever is changed in a sealed file or its manifest is named, and what is whole is found so in every form."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import zstandard

from schemas.catalogue import DEFAULT_COLUMNS
from tests.support.events import make_event
from tests.support.sealed import TSV, seal
from worker.manifest import manifest_path
from worker.reading.targets import Target, content_bytes, targets
from worker.reading.verify import Finding, State, verify
from worker.settings import Format, RowSettings

EVENTS = [make_event("bounce", number, recipients=2) for number in range(600)]
ENDINGS = ["", ".gz", ".zst"]
PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def check(path: Path) -> Finding:
    [target] = targets(path)
    read: list[int] = []
    finding = verify(target, read.append)
    if finding.state is State.OK:
        assert sum(read) == content_bytes(target)
    return finding


def edit_manifest(path: Path, **changes: Any) -> None:
    beside = manifest_path(path)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | changes))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("layout_format", "separator"), [("tsv", "\t"), ("csv", ","), ("original", ";"), ("jsonl", "\t")]
)
def test_a_whole_file_is_ok_by_each_of_its_names(
    tmp_path: Path, ending: str, layout_format: str, separator: str
) -> None:
    rows = RowSettings(format=Format(layout_format), separator=separator, timezone=UTC, columns=DEFAULT_COLUMNS)
    content = seal(tmp_path / "b.tsv", "bounce", EVENTS, rows=rows, ending=ending)
    for name in (content, tmp_path / "b.tsv.json", tmp_path):
        finding = check(name)
        assert (finding.state, finding.rows, list(finding.differences)) == (State.OK, 1200, [])
        assert finding.path == str(content)


def remove_row(content: bytes) -> bytes:
    return content[: content.rindex(b"\n", 0, -1) + 1]


def double_row(content: bytes) -> bytes:
    return content + content[content.rindex(b"\n", 0, -1) + 1 :]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (remove_row, {"bytes", "sha256", "rows: 1199, the manifest says 1200"}),
        (double_row, {"bytes", "sha256", "rows: 1201, the manifest says 1200"}),
        (lambda content: content.replace(b"@", b"%", 1), {"sha256"}),
        (lambda content: content.replace(b"rcpt", b"rcPT", 1), {"sha256", "header"}),
        (lambda content: content[:-1], {"bytes", "sha256", "rows", "content: it ends in the middle of a row"}),
        (lambda content: content + b"\n", {"bytes", "sha256", "rows"}),
        (lambda _: b"", {"bytes", "sha256", "rows", "header"}),
    ],
)
def test_what_differs_in_the_content_is_named_and_nothing_else(
    tmp_path: Path, ending: str, change: Callable[[bytes], bytes], named: set[str]
) -> None:
    path = tmp_path / "b.tsv"
    whole = seal(path, "bounce", EVENTS).read_bytes()
    if ending:
        path.unlink()
    seal(path, "bounce", EVENTS, ending=ending)
    path.with_name(path.name + ending).write_bytes(PACK[ending](change(whole)))
    finding = check(tmp_path / "b.tsv.json")
    assert finding.state is State.DIFFERS
    inside = [each for each in finding.differences if not each.startswith("compressed ")]
    assert {each if each in named else each.partition(":")[0] for each in inside} == named


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_file_is_compared_outside_and_inside(tmp_path: Path, ending: str) -> None:
    content = seal(tmp_path / "b.tsv", "bounce", EVENTS, ending=ending)
    whole = content.read_bytes()
    content.write_bytes(whole[:-30])
    torn = check(content).differences
    assert any(each.startswith("content: cannot be read") for each in torn) or any("bytes" in each for each in torn)
    content.write_bytes(whole + b"\x00")
    assert any("compressed bytes" in each or "cannot be read" in each for each in check(content).differences)


def test_a_compressed_file_that_holds_far_more_is_not_read_to_its_end(tmp_path: Path) -> None:
    content = seal(tmp_path / "b.tsv", "bounce", EVENTS[:1], ending=".zst")
    content.write_bytes(zstandard.compress(b"\n" * 300_000_000))
    assert "bytes: 1048576, the manifest says" in "".join(check(content).differences)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rows": 7}, "rows: 1200, the manifest says 7"),
        ({"bytes": 7}, "the manifest says 7"),
        ({"sha256": "0" * 64}, "the manifest says 0000"),
        ({"columns": ["rcpt"]}, "header: "),
        ({"format": "yaml"}, "unknown format 'yaml'"),
        ({"first_time_ms": 2, "last_time_ms": 1}, "its first time is after its last one"),
        ({"name": "other.tsv"}, "the manifest of 'other.tsv'"),
        ({"compressed": {"name": "x.gz", "bytes": 1, "sha256": "0" * 64}}, "compressed is 'x.gz'"),
        ({"compressed": {"name": "../x", "bytes": 1, "sha256": "0" * 64}}, "not a manifest"),
        ({"compressed": {"name": "b.tsv.gz", "bytes": 1, "sha256": "0" * 64}}, "content: missing"),
        ({"rows": "many"}, "not a manifest"),
    ],
)
def test_what_differs_in_the_manifest_is_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    seal(tmp_path / "b.tsv", "bounce", EVENTS)
    edit_manifest(tmp_path / "b.tsv", **changes)
    finding = check(tmp_path / "b.tsv.json")
    assert finding.state is State.DIFFERS
    assert [each for each in finding.differences if named in each], finding.differences


@pytest.mark.parametrize("torn", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_torn_manifest_is_told_by_its_path(tmp_path: Path, torn: bytes) -> None:
    seal(tmp_path / "b.tsv", "bounce", EVENTS)
    manifest_path(tmp_path / "b.tsv").write_bytes(torn)
    for name in ("b.tsv", "b.tsv.json"):
        finding = check(tmp_path / name)
        assert finding.path == str(tmp_path / "b.tsv.json")
        assert "not a manifest" in finding.differences[0]


def test_a_directory_names_what_is_not_sealed_and_leaves_out_what_was_kept_aside(tmp_path: Path) -> None:
    (tmp_path / ".directory-id").write_text("d")
    seal(tmp_path / "bounce/archive/b.1.tsv", "bounce", EVENTS)
    seal(tmp_path / "bounce/b.2.tsv", "bounce", EVENTS, ending=".zst")
    (tmp_path / "bounce/b.3.tsv").write_bytes(b"rcpt\n")
    (tmp_path / "bounce/.names").write_bytes(b"{}")
    (tmp_path / "recovered").mkdir()
    (tmp_path / "recovered/b.1.tsv.tail").write_bytes(b"x")
    (tmp_path / "recovered/b.1.tsv.tail.json").write_bytes(b"{}")
    found = {
        str(target.path.relative_to(tmp_path)): verify(target, lambda _: None).state for target in targets(tmp_path)
    }
    assert found == {
        "bounce/archive/b.1.tsv": State.OK, "bounce/b.2.tsv": State.OK, "bounce/b.3.tsv": State.NOT_SEALED
    }  # fmt: skip


def test_a_file_that_went_away_meanwhile_is_gone_and_one_in_object_storage_is_not_here(tmp_path: Path) -> None:
    path = tmp_path / "b.tsv"
    assert verify(Target(path), lambda _: None).state is State.GONE
    seal(path, "bounce", EVENTS).unlink()
    assert check(tmp_path).differences == ["content: missing"]
    edit_manifest(path, uploaded={"url": "s3://bucket/b.tsv", "at_ms": 1})
    assert check(tmp_path).state is State.ELSEWHERE


def test_a_form_that_the_manifest_does_not_name_is_not_taken_for_the_file(tmp_path: Path) -> None:
    path = seal(tmp_path / "b.tsv", "bounce", EVENTS, rows=TSV)
    (tmp_path / "b.tsv.gz").write_bytes(path.read_bytes())
    assert check(tmp_path / "b.tsv.gz").differences == ["manifest: it names no such compressed file"]
    assert check(tmp_path).state is State.OK
