"""Workers that died for good behind the end of their files: others of the directory clear what their records name."""

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TYPES
from tests.server.fleet import KEYS, Fleet, Killed
from tests.server.test_audit_deep import deep
from tests.support.audits import audited
from tests.support.files import sealed_files
from tests.support.workers import PARTITION, changed, drain, make_worker, settings
from worker import records
from worker.janitor import Janitor
from worker.locks import ConsumerLock
from worker.loop import Worker
from worker.manifest import manifest_path
from worker.settings import Compression, JanitorSettings, Settings
from worker.stream import Stream
from worker.stream.link import connector
from worker.stream.retirement import RETIRED, retire


def configured(fleet: Fleet, name: str, *, archiving: bool = True) -> Settings:
    return changed(settings(fleet.path, name=name), "rotation", archiving=archiving)


def worker_of(fleet: Fleet, name: str, *, archiving: bool = True) -> Worker:
    worker = make_worker(configured(fleet, name, archiving=archiving), None, fleet.clock, url=fleet.url)
    fleet.workers.append(worker)
    assert worker.recover()
    return worker


def with_sealed_files(fleet: Fleet, *, archiving: bool = True) -> Worker:
    """Return a worker that has just sealed three files, which its record still names."""
    fleet.publisher.publish_some(3)
    worker = worker_of(fleet, "dead", archiving=archiving)
    worker.rotate()
    drain(worker, 3)
    assert worker._files.are_some_just_sealed
    return worker


def tidy(fleet: Fleet, *, archiving: bool = True, **asked: Any) -> None:
    janitor = Janitor(settings(fleet.path).directory, JanitorSettings(**asked), archiving=archiving)
    janitor.run()
    assert not janitor.troubles


def named(fleet: Fleet, worker: Worker) -> list[str]:
    """Return the files that the record of a worker names."""
    record = records.decode(fleet.client.hget(KEYS.records, f"{worker._stream._consumer} {worker._directory.id}"))
    assert record is not None
    return sorted([*(state.name for state in record.files.values()), *(each.file.name for each in record.closing)])


def retired(fleet: Fleet) -> str:
    return retire(connector(settings(fleet.path).stream, fleet.url), PARTITION, "dead")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"compress": Compression.ZSTD},
        {"keep_bytes": 1},
        {"compress": Compression.GZIP, "archive_url": "file://{}/store", "keep_days": 0},
    ],
    ids=["moved", "compressed", "expired", "uploaded and expired"],
)
def test_a_record_whose_files_are_over_is_cleared_and_its_consumer_can_be_retired(
    fleet: Fleet, tmp_path: Path, asked: dict[str, Any]
) -> None:
    dead = with_sealed_files(fleet)
    fleet.die(dead)
    if url := asked.get("archive_url"):
        asked = {**asked, "archive_url": url.format(tmp_path)}
    tidy(fleet, **asked)
    other = worker_of(fleet, "other")
    assert "not sealed" in retired(fleet)
    other.step()
    assert named(fleet, dead) == []
    assert retired(fleet) == RETIRED
    assert audited(configured(fleet, "other"), fleet.url).balanced


def test_a_record_whose_files_were_sealed_in_place_and_left_the_book_is_cleared(fleet: Fleet) -> None:
    dead = with_sealed_files(fleet, archiving=False)
    fleet.die(dead)
    other = worker_of(fleet, "other", archiving=False)
    other.step()
    assert retired(fleet) == RETIRED
    assert len([file for name in TYPES for file in sealed_files(fleet.path, name)]) == 3
    fleet.check()


def test_a_record_whose_files_had_no_rows_and_were_unlinked_is_cleared(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.publisher.publish_some(1)
    dead = worker_of(fleet, "dead")
    drain(dead, 1)
    send, sent = Stream.send_commit, []

    def send_and_die(self: Stream, record: Any, *rest: Any, **named: Any) -> None:
        sent.append(record)
        if len(sent) == 2:
            raise Killed
        send(self, record, *rest, **named)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Stream, "send_commit", send_and_die)
        dead.stop()
        dead.run()
    fleet.lapse(dead)
    assert len(named(fleet, dead)) == 3
    worker_of(fleet, "other").step()
    assert retired(fleet) == RETIRED
    fleet.check()


def test_the_record_of_a_worker_that_only_stalls_is_left_alone(fleet: Fleet) -> None:
    slow, other = with_sealed_files(fleet), worker_of(fleet, "other")
    before = (named(fleet, slow), fleet.client.hget(KEYS.owners, "dead"))
    fleet.lapse(slow)
    other.step()
    assert (named(fleet, slow), fleet.client.hget(KEYS.owners, "dead")) == before
    slow.step()  # not fenced
    assert len(named(fleet, slow)) == 3  # the open ones


def test_the_record_of_a_consumer_whose_lease_lives_is_left_alone(fleet: Fleet) -> None:
    dead, other = with_sealed_files(fleet), worker_of(fleet, "other")
    open_files = {file.path.name for file in dead._files.open.values()}
    dead.release()
    fleet.clock.now += 60
    other.step()
    assert len(set(named(fleet, dead)) - open_files) == 3
    fleet.lapse(dead)
    other.step()
    assert named(fleet, dead) == []


def removed(archived: Path) -> None:
    archived.unlink()
    manifest_path(archived).unlink()


def edited(archived: Path, old: str, new: str) -> None:
    beside = manifest_path(archived)
    text = beside.read_text()
    assert text.count(old) == 1
    beside.chmod(0o640)
    beside.write_text(text.replace(old, new))


@pytest.mark.parametrize("doubt", ["removed by hand", "manifest of another directory", "shorter", "no manifest"])
def test_a_record_whose_file_is_not_known_to_be_over_is_kept(fleet: Fleet, doubt: str) -> None:
    dead = with_sealed_files(fleet)
    [archived] = sealed_files(fleet.path, "bounce")
    fleet.die(dead)
    match doubt:
        case "removed by hand":
            removed(archived)
        case "manifest of another directory":
            edited(archived, dead._directory.id, "another")
        case "shorter":
            edited(archived, f'"bytes": {archived.stat().st_size}', '"bytes": 1')
        case _:
            edited(archived, '"rows"', '"raws"')
    other = worker_of(fleet, "other")
    other.step()
    assert named(fleet, dead) == [archived.name]
    assert archived.name in retired(fleet)


@pytest.mark.parametrize("script", ["seize", "forget"])
def test_a_consumer_that_comes_back_while_its_record_is_cleared_goes_on_as_if_nothing_was(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    dead = with_sealed_files(fleet)
    open_files = [file.path for file in dead._files.open.values()]
    fleet.die(dead)
    other = worker_of(fleet, "other")
    call = getattr(Stream, script)
    back: list[Worker] = []

    def pause_before(self: Stream, *arguments: Any) -> Any:
        if not back and not any(file.exists() for file in open_files):  # they come first
            back.append(worker_of(fleet, "dead"))
        return call(self, *arguments)

    monkeypatch.setattr(Stream, script, pause_before)
    other.step()
    fleet.publisher.publish_some(3)
    drain(back[0], 3)  # neither fenced nor behind
    fleet.check()
    assert len(named(fleet, back[0])) == 3


def test_a_start_is_not_taken_for_a_second_one_by_a_look_at_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, tried = fcntl.flock, []
    looking = os.open(tmp_path / ".worker-1.lock", os.O_RDWR | os.O_CREAT)
    flock(looking, fcntl.LOCK_SH)

    def look_no_more(descriptor: int, operation: int) -> None:
        tried.append(operation)
        if len(tried) == 5:
            os.close(looking)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", look_no_more)
    ConsumerLock(tmp_path, "worker-1", "m 1 1").release()
    assert len(tried) > 5


@pytest.mark.parametrize("compress", Compression)
def test_a_file_that_expired_while_a_record_names_it_counts_by_the_catalogue(
    fleet: Fleet, compress: Compression
) -> None:
    dead = with_sealed_files(fleet)
    mine = configured(fleet, "dead")
    fleet.die(dead)
    tidy(fleet, compress=compress)
    assert audited(mine, fleet.url).balanced
    tidy(fleet, keep_bytes=1)
    report = audited(mine, fleet.url)
    assert report.findings == []
    assert [(rows.sealed, rows.expired, rows.open) for rows in report.directories[0].rows] == [(0, 1, 0)] * 3
    found = deep(mine, fleet.url)
    assert found.findings == []
    assert [(each.expired_files, each.elsewhere) for each in found.types] == [(1, 1)] * 3
