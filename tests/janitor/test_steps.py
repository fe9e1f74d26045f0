"""Each step of the janitor: what it does to sealed files, and what it leaves alone."""

import errno
import fcntl
import gzip
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.janitor.lab import NOW_MS, Lab
from worker.catalogue import expired
from worker.errors import Locked
from worker.janitor import Done
from worker.janitor.lock import janitor_lock
from worker.janitor.store import ObjectStore
from worker.manifest import decode, encode, manifest_path
from worker.salvage import TailNote, read_tail_note
from worker.schedule import Step


def troubles(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.fixture
def other_file_system(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no link lead into an archive from outside, as where it is a mount."""
    real = os.link

    def link(source: Any, target: Any) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target)

    monkeypatch.setattr(os, "link", link)


def test_without_a_wish_and_with_everything_in_its_place_nothing_changes(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.1")
    before = lab.standing()
    assert lab.tidy() == Done()
    assert lab.standing() == before


def test_with_archiving_what_stands_in_the_location_is_moved(lab: Lab) -> None:
    lab.seal(lab.delivered.open, "d.1")
    assert lab.tidy().archived == 1
    assert list(lab.standing()) == ["delivered/archive/d.1"]


@pytest.mark.usefixtures("other_file_system")
def test_an_archive_on_another_file_system_gets_a_copy_that_was_compared(lab: Lab) -> None:
    lab.seal(lab.delivered.open, "d.1")
    assert lab.tidy().archived == 1
    assert list(lab.standing()) == ["delivered/archive/d.1"]


@pytest.mark.usefixtures("other_file_system")
def test_a_file_that_is_not_what_its_manifest_says_stays_and_is_told_once(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = lab.seal(lab.delivered.open, "d.1"), lab.seal(lab.delivered.open, "d.2")
    bad.chmod(0o640)
    bad.write_bytes(bad.read_bytes().replace(b"d.1-7@", b"d.1-8@"))
    bad.chmod(0o440)
    janitor = lab.janitor()
    janitor.run()
    janitor.run()
    [line] = troubles(caplog)
    assert "not what its manifest says" in line
    assert bad.exists()
    assert not good.exists()
    assert sorted(file.name for file in lab.delivered.archive.iterdir()) == ["d.2", "d.2.json"]


def test_an_altered_file_is_not_compressed(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    path.chmod(0o440)
    lab.janitor(compress="zstd").run()
    assert "not what its manifest says" in troubles(caplog)[0]
    assert sorted(file.name for file in lab.delivered.archive.iterdir()) == ["d.1", "d.1.json"]


def test_another_file_of_that_name_in_the_archive_is_not_replaced(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.seal(lab.delivered.open, "d.1")
    taken = lab.delivered.archive / "d.1"
    taken.write_bytes(b"another")
    lab.janitor().run()
    assert taken.read_bytes() == b"another"
    assert (lab.delivered.open / "d.1").exists()
    assert "stands in the way" in troubles(caplog)[0]


@pytest.mark.parametrize(("kind", "ending"), [("zstd", ".zst"), ("gzip", ".gz")])
@pytest.mark.parametrize("archiving", [True, False])
def test_a_sealed_file_is_compressed_where_it_stands(lab: Lab, kind: str, ending: str, *, archiving: bool) -> None:
    place = lab.delivered.archive if archiving else lab.delivered.open
    lab.seal(place, "d.1")
    [before] = lab.standing().values()
    assert lab.tidy(archiving=archiving, compress=kind).compressed == 1
    assert lab.standing() == {str((place / f"d.1{ending}").relative_to(lab.path)): before}
    assert lab.tidy(archiving=archiving, compress=kind) == Done()


def test_the_same_content_is_compressed_to_the_same_bytes(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.1")
    lab.tidy(compress="gzip")
    first = (lab.delivered.archive / "d.1.gz").read_bytes()
    assert first[4:8] == bytes(4)  # no time in it
    for file in lab.delivered.archive.iterdir():
        file.unlink()
    lab.seal(lab.delivered.archive, "d.1")
    lab.tidy(compress="gzip")
    assert (lab.delivered.archive / "d.1.gz").read_bytes() == first


def test_what_stands_under_the_compressed_name_and_holds_something_else_is_left_alone(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.seal(lab.delivered.archive, "d.1")
    foreign = lab.delivered.archive / "d.1.gz"
    foreign.write_bytes(gzip.compress(b"an operator's own\n"))
    lab.janitor(compress="gzip").run()
    assert gzip.decompress(foreign.read_bytes()) == b"an operator's own\n"
    assert (lab.delivered.archive / "d.1").exists()
    assert "holds another content" in troubles(caplog)[0]


def test_a_file_whose_lock_a_worker_has_is_left_alone_until_it_is_free(lab: Lab) -> None:
    path = lab.seal(lab.delivered.open, "d.1")
    lab.seal(lab.delivered.open, "d.2")
    with path.open("rb") as worker:
        fcntl.flock(worker, fcntl.LOCK_EX)
        assert lab.tidy(compress="zstd").compressed == 1
        assert list(lab.standing()) == ["delivered/d.1", "delivered/archive/d.2.zst"]
    assert lab.tidy(compress="zstd").compressed == 1


def test_a_file_on_a_workers_way_to_the_archive_is_not_compressed_there(lab: Lab) -> None:
    """The worker links, then unlinks; a compressed form in between would leave the file in two forms."""
    path = lab.seal(lab.delivered.open, "d.1")
    os.link(path, lab.delivered.archive / "d.1")
    os.link(manifest_path(path), lab.delivered.archive / "d.1.json")
    with path.open("rb") as worker:
        fcntl.flock(worker, fcntl.LOCK_EX)
        assert lab.tidy(compress="zstd") == Done()
    assert lab.tidy(compress="zstd") == Done(archived=1, compressed=1)
    assert list(lab.standing()) == ["delivered/archive/d.1.zst"]


def test_open_files_foreign_files_and_files_not_fully_sealed_are_never_touched(lab: Lab) -> None:
    (lab.delivered.open / "d.open").write_bytes(b"rcpt\n")
    (lab.delivered.open / "d.old.log").write_bytes(b"of the old plugin\n")
    (lab.delivered.archive / "notes.json").write_bytes(b"{}")
    lab.seal(lab.delivered.open, "d.1").chmod(0o640)  # manifest there, read-only bit not yet
    before = _everything(lab.path)
    janitor = lab.janitor(compress="zstd", keep_days=1, keep_bytes=1)
    lab.pass_time(days=10_000)
    assert janitor.run() == Done()
    assert _everything(lab.path) == before


def _everything(path: Path) -> dict[Path, bytes]:
    """Return all files but those of the janitor itself."""
    own = {".janitor", ".passed-time", ".sightings.jsonl"}
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name not in own}


def test_files_expire_by_age_the_oldest_first_and_stay_in_the_catalogue(lab: Lab) -> None:
    for days in (1, 29.9, 30, 45):
        lab.seal(lab.delivered.archive, f"d.{days}", days_old=days)
    assert lab.tidy(keep_days=30).expired == 2
    assert [each.name for each in expired(lab.delivered)] == ["d.45", "d.30"]
    assert [Path(name).name for name in lab.standing()] == ["d.1", "d.29.9"]


def test_files_expire_by_their_size_together_over_all_types(lab: Lab) -> None:
    for number, name in enumerate(("delivered", "deferred", "bounce")):
        lab.seal(lab.places[name].archive, f"{name}.1", days_old=number, type_=name)
    [size, *_] = [lab.stored("delivered.1").length]
    assert lab.tidy(keep_bytes=2 * size + 100).expired == 1
    assert [each.name for each in expired(lab.places["bounce"])] == ["bounce.1"]
    assert lab.tidy(keep_bytes=2 * size + 100) == Done()
    assert lab.tidy(keep_bytes=1).expired == 2
    assert lab.standing() == {}


def test_a_file_that_is_gone_is_told_and_its_manifest_stays(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    path.unlink()
    lab.janitor(keep_days=0).run()
    assert manifest_path(path).exists()
    assert "d.1 is not there" in troubles(caplog)[0]


def keep_tail(lab: Lab, name: str, rows: bytes, *, in_doubt: bool = False) -> Path:
    """Put a tail that was cut off `delivered/d.1` into `recovered/`, with its note, and return where."""
    kept = lab.path / "recovered" / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(rows)
    note = TailNote(file="delivered/d.1", offset=100, bytes=len(rows), opened_ms=NOW_MS, in_doubt=in_doubt, why="?")
    kept.with_name(f"{name}.json").write_bytes(msgspec.json.encode(note))
    os.utime(kept.with_name(f"{name}.json"), (NOW_MS / 1000,) * 2)
    return kept


def standing_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".json")


def test_tails_expire_once_each_of_their_rows_is_found_in_a_sealed_file_and_nothing_else_does(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.7", rows=3)
    lab.seal(lab.delivered.archive, "d.8", rows=3)
    rows = [b"%s-%d@example.com\n" % (name, number) for name in (b"d.7", b"d.8") for number in range(3)]
    kept, lost = lab.path / "recovered", lab.path / "lost"
    lost.mkdir()
    keep_tail(lab, "whole.tail", b"".join(rows))
    keep_tail(lab, "torn.tail", rows[0] + rows[5][:-3])
    keep_tail(lab, "strange.tail", rows[0] + b"nobody@example.com\n")
    keep_tail(lab, "twice.tail", rows[0] + rows[0])
    (kept / "d.2").write_bytes(b"".join(rows))
    (kept / "d.2.json").write_bytes(b"{}")
    (kept / "by-hand.txt").write_bytes(b"?")
    (lost / "d.9.json").write_bytes(b"{}")
    lab.pass_time(days=29)
    assert lab.tidy(keep_recovered_days=30).tails == 0
    lab.pass_time(days=2)
    assert lab.tidy(keep_recovered_days=30).tails == 2
    assert standing_in(kept) == ["by-hand.txt", "d.2", "strange.tail", "twice.tail"]
    assert (kept / "d.2.json").exists()
    assert (lost / "d.9.json").exists()


def test_a_tail_in_doubt_is_so_until_its_rows_are_found_and_never_goes_by_its_age(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.7", rows=3)
    tail = keep_tail(lab, "doubted.tail", b"d.8-0@example.com\n", in_doubt=True)
    note = tail.with_name("doubted.tail.json")
    janitor = lab.janitor(keep_recovered_days=30)
    lab.pass_time(days=365)
    assert janitor.run().tails == 0
    lab.seal(lab.delivered.archive, "d.8", rows=1)
    assert janitor.run().tails == 0  # it does not search again and again
    lab.pass_time(hours=1)
    assert janitor.run().tails == 1
    tail = keep_tail(lab, "doubted.tail", b"d.8-0@example.com\n", in_doubt=True)
    os.utime(note, (lab.now_ms / 1000,) * 2)
    assert lab.tidy(keep_recovered_days=30).tails == 0
    settled = read_tail_note(note)
    assert settled
    assert (settled.in_doubt, tail.read_bytes()) == (False, b"d.8-0@example.com\n")
    os.utime(note, (lab.now_ms / 1000,) * 2)
    lab.pass_time(days=31)
    assert lab.tidy(keep_recovered_days=30).tails == 1
    assert standing_in(tail.parent) == []


@pytest.mark.parametrize(
    "why", ["another directory", "a replay", "before", "another type", "cannot be read", "too short"]
)
def test_a_file_that_does_not_count_here_proves_nothing(lab: Lab, why: str) -> None:
    where = lab.places["bounce"].archive if why == "another type" else lab.delivered.archive
    days_old = 3 if why == "before" else 0
    path = lab.seal(where, "d.7", rows=3, days_old=days_old, type_="bounce" if why == "another type" else "delivered")
    changes: dict[str, dict[str, Any]] = {
        "another directory": {"directory": "another"},
        "a replay": {"reason": "replay"},
        "too short": {"bytes": 9},
    }
    manifest = decode(manifest_path(path).read_bytes(), manifest_path(path))
    manifest_path(path).chmod(0o600)
    manifest_path(path).write_bytes(encode(msgspec.structs.replace(manifest, **changes.get(why, {}))))
    if why == "cannot be read":
        path.unlink()
        path.mkdir()
    tail = keep_tail(lab, "x.tail", b"d.7-0@example.com\n")
    lab.pass_time(days=31)
    lab.janitor(keep_recovered_days=30).run()
    assert tail.exists()


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_compressed_files_prove_tails_too(lab: Lab, compress: str) -> None:
    lab.seal(lab.delivered.archive, "d.7", rows=3)
    lab.tidy(compress=compress)
    tail = keep_tail(lab, "x.tail", b"d.7-2@example.com\nd.7-0@example.com\n")
    lab.pass_time(days=31)
    assert lab.tidy(keep_recovered_days=30, compress=compress).tails == 1
    assert not tail.exists()


def test_a_full_disk_is_told_once_and_its_end_too_and_nothing_is_lost(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    for number in range(3):
        lab.seal(lab.delivered.archive, f"d.{number}")
    before = sorted(lab.standing().values())
    janitor = lab.janitor(compress="gzip")
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: real(descriptor, data[: len(data) // 2]))
        for _ in range(3):
            janitor.run()
        assert len(troubles(caplog)) == 1
        assert sorted(lab.standing().values()) == before
    assert janitor.run().compressed == 3
    assert [r.getMessage() for r in caplog.records if "janitor.recovered" in r.getMessage()] == [
        "janitor.recovered step=compress file=any"
    ]
    assert sorted(lab.standing().values()) == before
    assert not janitor.troubles


def test_a_directory_has_one_janitor_at_a_time(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.1")
    with janitor_lock(lab.path), pytest.raises(Locked, match=rf"process {os.getpid()} \(.*\) is at work"):
        lab.janitor(compress="zstd").run()
    lab.janitor(compress="zstd").tick()
    assert list(lab.standing()) == ["delivered/archive/d.1.zst"]


def test_a_janitor_that_another_process_keeps_out_for_an_hour_says_so_once(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    janitor = lab.janitor()
    with janitor_lock(lab.path):
        for minute in range(120):
            lab.monotonic = 60.0 * minute
            janitor.tick()
        assert [line.partition("why=")[0] for line in troubles(caplog)] == ["janitor.trouble step=start "]
        assert f"process {os.getpid()} (" in troubles(caplog)[0]
        assert "is at work on the sealed files" in troubles(caplog)[0]
    janitor.tick()
    assert caplog.records[-1].getMessage() == "janitor.recovered step=start file=any"


def test_a_run_says_what_it_is_at(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lab.seal(lab.delivered.archive, "d.1")
    janitor = lab.janitor(compress="zstd")
    lab.monotonic = 7.0
    seen = []
    real = Path.unlink

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        seen.append(janitor.step())
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    janitor.tick()
    assert set(seen) == {Step(f"compress {path}", 7.0)}
    assert janitor.step() is None


def test_trap_29_a_second_janitor_keeps_off_while_the_first_one_uploads_what_it_compressed(
    lab: Lab, tmp_path: Path
) -> None:
    lab.seal(lab.delivered.archive, "d.1")
    asked: dict[str, Any] = {"compress": "zstd", "archive_url": (tmp_path / "store").as_uri(), "keep_bytes": 1}
    refused: list[Locked] = []

    class Store(ObjectStore):
        """A store at whose first upload a second janitor comes."""

        def put(self, key: str, source: Path | bytes) -> None:
            with pytest.raises(Locked) as busy:
                lab.janitor(**asked).run()
            refused.append(busy.value)
            super().put(key, source)

    first = lab.janitor(open_store=Store, **asked)
    done = first.run()
    assert refused
    assert (done.compressed, done.uploaded, done.expired) == (1, 1, 1)
    assert not first.troubles
    assert lab.standing() == {}


def test_a_directory_whose_volume_is_gone_gets_nothing(lab: Lab) -> None:
    (lab.path / ".directory-id").unlink()
    assert lab.tidy(compress="zstd", keep_days=1) == Done()
    assert not (lab.path / ".janitor").exists()


def test_a_run_that_is_asked_to_stop_ends_after_the_file_in_hand(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        lab.seal(lab.delivered.archive, f"d.{number}")
    janitor = lab.janitor(compress="zstd")
    real = Path.unlink

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.name == "d.0":
            janitor.stop()
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert janitor.run().compressed == 1
