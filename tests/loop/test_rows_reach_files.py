"""The good way: events become rows, files are born, rotated, sealed and archived."""

from collections import Counter
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab, WiredConnection
from tests.support.files import check_manifest, data_files, recipients_in, rows_of, sealed_files
from tests.support.workers import PARTITION, drain, settings
from worker.directory import Directory
from worker.errors import Locked
from worker.schedule import Schedule
from worker.settings import RotationSettings
from worker.stream.script import Script

COMMIT = Script("commit")


def expected(lab: Lab) -> Counter[str]:
    return Counter(
        rcpt["rcpt"]
        for events in lab.publisher.published.values()
        for event in events
        for rcpt in event["rcpts"]  # type: ignore[attr-defined]
    )


def test_each_recipient_of_every_type_gets_one_row(lab: Lab) -> None:
    lab.publisher.publish_some(12, per_batch=3, recipients=2)
    worker = lab.worker()
    drain(worker, 36)
    assert recipients_in(lab.path) == expected(lab)
    assert lab.pending() == 0
    assert (lab.ledger("events"), lab.ledger("rows"), lab.ledger("published")) == (36, 72, 36)


def test_the_first_batch_after_a_start_is_no_larger_than_others_where_a_backlog_of_large_entries_waits(
    lab: Lab,
) -> None:
    lab.configure("stream", batch_entries=2000, batch_bytes=1_000_000)
    lab.publisher.publish_some(60, recipients=1_200)  # about 100 kB each
    worker = lab.worker()
    worker.step()
    assert 0 < worker.totals.events <= 30
    drain(worker, 60)


def test_a_start_makes_three_files_with_their_header(lab: Lab) -> None:
    lab.worker()
    for event_type in TYPES:
        [file] = data_files(lab.path, event_type)
        assert file.read_text().startswith("type\ttimeLogged\ttimeQueued\trcpt\t")
        assert file.read_text().count("\n") == 1


def test_a_stop_archives_files_with_rows_and_unlinks_those_without(lab: Lab) -> None:
    lab.publisher.publish_some(1)
    worker = lab.worker()
    drain(worker, 1)
    lab.stop(worker)
    [file] = data_files(lab.path, "delivered")
    assert file.parent.name == "archive"
    assert check_manifest(file).reason == "stop"
    assert data_files(lab.path, "deferred") == data_files(lab.path, "bounce") == []
    assert not lab.client.exists(lab.keys.lease("worker-1"))


def test_without_archiving_a_stop_seals_in_place(lab: Lab) -> None:
    lab.configure("rotation", archiving=False)
    lab.publisher.publish_some(1)
    worker = lab.worker()
    drain(worker, 1)
    lab.stop(worker)
    [file] = data_files(lab.path, "delivered")
    assert file.parent.name == "delivered"
    check_manifest(file)


def test_a_start_after_a_kill_seals_what_was_open_and_makes_new_files(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    drain(worker, 3)
    lab.die(worker)
    lab.worker()
    for event_type in TYPES:
        [archived] = sealed_files(lab.path, event_type)
        assert check_manifest(archived).reason == "start"
        assert len(data_files(lab.path, event_type)) == 2
    assert recipients_in(lab.path) == expected(lab)


def test_files_that_reach_max_size_are_archived_and_no_row_is_lost_between_two_files(lab: Lab) -> None:
    lab.configure("rotation", max_size_bytes=1_000)
    lab.publisher.publish_some(90)
    worker = lab.worker()
    drain(worker, 90)
    assert recipients_in(lab.path) == expected(lab)
    for event_type in TYPES:
        manifests = [check_manifest(file) for file in sealed_files(lab.path, event_type)]
        assert len(manifests) == 2
        assert {manifest.reason for manifest in manifests} == {"size"}
        assert all(1_000 <= manifest.bytes < 3_000 for manifest in manifests)


def test_a_file_as_old_as_the_interval_is_archived_with_the_next_batch(lab: Lab) -> None:
    lab.publisher.publish_some(1)
    worker = lab.worker()
    drain(worker, 1)
    assert sealed_files(lab.path, "delivered") == []
    lab.clock.now += 86_400
    lab.publisher.publish_some(1)  # a deferral: the delivered file is due all the same
    drain(worker, 2)
    [archived] = sealed_files(lab.path, "delivered")
    assert check_manifest(archived).reason == "interval"


def test_a_file_without_rows_is_never_archived(lab: Lab) -> None:
    worker = lab.worker()
    before = data_files(lab.path, "bounce")
    lab.clock.now += 1_000_000
    lab.publisher.publish_some(1)
    drain(worker, 1)
    assert data_files(lab.path, "bounce") == before


def test_a_file_that_an_instant_of_archive_cron_has_passed_is_archived_with_the_next_batch(lab: Lab) -> None:
    lab.configure("rotation", interval_seconds=1, archive_cron="0 0 1 * *", timezone=ZoneInfo("Europe/Berlin"))
    worker = lab.worker()
    lab.publisher.publish_some(3)
    lab.clock.now += 60
    drain(worker, 3)
    assert sealed_files(lab.path, "delivered") == []  # the interval does not count
    lab.clock.wall_is_ahead = 32 * 86_400
    lab.publisher.publish_some(3)
    drain(worker, 6)
    [archived] = sealed_files(lab.path, "delivered")
    assert check_manifest(archived).reason == "cron"
    lab.publisher.publish_some(3)
    drain(worker, 9)
    assert len(sealed_files(lab.path, "delivered")) == 1


def test_the_timer_of_archive_cron_wakes_the_loop_at_the_instants_of_its_zone() -> None:
    rotation = RotationSettings(
        archiving=True, interval_seconds=1, max_size_bytes=1, archive_cron="0 0 * * *", timezone=ZoneInfo("Asia/Tokyo")
    )
    schedule = Schedule(rotation, [])
    schedule.arm("delivered")
    schedule.start()
    try:
        [job] = schedule._scheduler.get_jobs()
        assert job.next_run_time.astimezone(UTC).time().isoformat() == "15:00:00"
        assert (job.misfire_grace_time, job.coalesce) == (None, True)
        job.func()
        assert schedule.take_due()
    finally:
        schedule.stop()


def test_without_archiving_neither_size_nor_interval_rotates(lab: Lab) -> None:
    lab.configure("rotation", archiving=False, max_size_bytes=100, interval_seconds=1)
    worker = lab.worker()
    lab.clock.now += 1_000
    lab.publisher.publish_some(30)
    drain(worker, 30)
    assert [len(data_files(lab.path, event_type)) for event_type in TYPES] == [1, 1, 1]


def test_a_manifest_tells_rows_ids_and_times_of_its_file(lab: Lab) -> None:
    lab.publisher.publish_some(9, per_batch=2)
    worker = lab.worker()
    drain(worker, 18)
    lab.stop(worker)
    [file] = sealed_files(lab.path, "delivered")
    manifest = check_manifest(file)
    entries = lab.client.xrange(lab.keys.streams["delivered"])
    assert (manifest.first_id, manifest.last_id) == (entries[0][0].decode(), entries[-1][0].decode())
    assert (manifest.first_time_ms, manifest.last_time_ms) == (1_795_373_309_671, 1_795_373_309_671 + 13)
    assert manifest.columns == list(rows_of(file)[0])
    assert (manifest.writer, manifest.type) == ("worker-1", "delivered")


def test_a_second_process_of_the_same_name_in_the_same_directory_is_refused_with_the_pid_of_the_first(lab: Lab) -> None:
    lab.worker()
    configured = settings(lab.path)
    with pytest.raises(Locked, match=r"worker-1 is already at work here, in process \d+"):
        Directory(
            configured.directory, configured.names, configured.rows, "worker-1", partition=PARTITION, archiving=True
        )


def test_two_workers_of_different_names_share_a_directory_without_sharing_files(lab: Lab) -> None:
    first = lab.worker()
    second = lab.worker(settings(lab.path, name="worker-2"))
    lab.publisher.publish_some(200)
    while first.totals.events + second.totals.events < 200:
        first.step()
        second.step()
    assert recipients_in(lab.path) == expected(lab)
    assert second.totals.events > 0
    assert first.totals.events > 0


def test_foreign_files_in_the_directory_are_left_as_they_are(lab: Lab) -> None:
    foreign = lab.path / "delivered" / "d.2017-06-16-125059.tsv"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"old plugin's\r\n")
    lab.stop(lab.worker())
    assert foreign.read_bytes() == b"old plugin's\r\n"


def test_the_wanted_headers_are_told_to_the_plugins(lab: Lab) -> None:
    columns = {**lab.settings.rows.columns, "bounce": ("rcpt", "custom_X-Campaign")}
    lab.configure("rows", columns=columns)
    lab.worker()
    assert b"x-campaign" in lab.client.smembers(lab.keys.wanted)


def test_archived_files_stand_in_the_archive_with_their_manifest_and_nowhere_else(lab: Lab) -> None:
    lab.configure("rotation", max_size_bytes=200)
    lab.publisher.publish_some(30)
    worker = lab.worker()
    drain(worker, 30)
    location: Path = lab.path / "delivered"
    visible = [file for file in location.iterdir() if file.is_file() and not file.name.startswith(".")]
    assert len(visible) == 1
    assert {file.suffix for file in (location / "archive").iterdir()} == {".tsv", ".json"}


def test_trap_22_no_commit_waits_behind_a_read_that_blocks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(60)
    worker = lab.worker()
    sent: list[str] = []
    send = WiredConnection.send_command

    def remember(self: WiredConnection, *request: Any, **named: Any) -> None:
        words = [str(word) for word in request]
        sent.append("commit" if COMMIT.sha in words else "blocking read" if "BLOCK" in words else words[0])
        send(self, *request, **named)

    monkeypatch.setattr(WiredConnection, "send_command", remember)
    drain(worker, 60)
    commits = [number for number, what in enumerate(sent) if what == "commit"]
    assert len(commits) > 2
    # A blocking read is sent only when nothing waits to be committed: its reply comes before anything else is sent,
    # and what is read while a batch is appended does not block.
    assert all(sent[number - 1] == "XREADGROUP" for number in commits[1:])
