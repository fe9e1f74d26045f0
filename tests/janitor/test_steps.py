"""Each step of the janitor: what it does to sealed files, and what it leaves alone."""

import errno
import fcntl
import gzip
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from tests.janitor.lab import Lab
from worker.catalogue import expired
from worker.errors import Locked
from worker.janitor import Done
from worker.janitor.lock import janitor_lock
from worker.janitor.store import ObjectStore
from worker.manifest import manifest_path
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


def test_tails_expire_and_copies_of_committed_rows_and_notes_of_losses_do_not(lab: Lab) -> None:
    kept = lab.path / "recovered"
    lost = lab.path / "lost"
    for directory in (kept, lost):
        directory.mkdir()
    for file in ("d.1.tail", "d.1.tail.1", "d.2", "d.3.tail"):
        (kept / file).write_bytes(b"rows")
        (kept / f"{file}.json").write_bytes(b"{}")
    (kept / "by-hand.txt").write_bytes(b"?")
    (lost / "d.9.json").write_bytes(b"{}")
    now_ms = int((kept / "d.1.tail").stat().st_mtime * 1000)
    os.utime(kept / "d.3.tail.json", (now_ms / 1000 + 5 * 86_400,) * 2)
    lab.now_ms = now_ms + 31 * 86_400_000
    assert lab.tidy(keep_recovered_days=30).tails == 2
    assert sorted(file.name for file in kept.iterdir()) == [
        "by-hand.txt", "d.2", "d.2.json", "d.3.tail", "d.3.tail.json",
    ]  # fmt: skip
    assert (lost / "d.9.json").exists()


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
    with janitor_lock(lab.path), pytest.raises(Locked, match=f"process {os.getpid()} is at work"):
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
        assert f"process {os.getpid()} is at work on the sealed files" in troubles(caplog)[0]
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
