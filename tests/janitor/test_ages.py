"""When sealed files are too old: by the days that were seen to pass, whatever the clocks say."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.janitor.lab import DAY_MS, NOW_MS, Lab
from worker.manifest import decode, encode, manifest_path

MONTH: dict[str, Any] = {"keep_days": 30}


def look_for(lab: Lab, *, hours: float, every_minutes: float = 10) -> int:
    """Let time pass and the janitor run meanwhile; return how many files it has removed."""
    removed = lab.tidy(**MONTH).expired
    for _ in range(round(hours * 60 / every_minutes)):
        lab.pass_time(hours=every_minutes / 60)
        removed += lab.tidy(**MONTH).expired
    return removed


def restart_machine(lab: Lab) -> None:
    lab.account, lab.monotonic = f"start after {lab.now_ms}", 5.0


@pytest.fixture
def begun(lab: Lab) -> Lab:
    """Return a directory that a janitor has looked at, with files of every age up to a month."""
    for days in range(30):
        lab.seal(lab.delivered.archive, f"d.{days:02}", days_old=days)
    assert lab.tidy(**MONTH).expired == 0
    return lab


def test_at_the_first_look_manifests_are_believed_and_later_on_days_are_counted(begun: Lab) -> None:
    for days in range(1, 31):
        begun.pass_time(days=1)
        assert begun.tidy(**MONTH).expired == 1, days
    assert begun.standing() == {}


def test_a_clock_that_is_40_days_ahead_for_an_hour_removes_nothing(begun: Lab) -> None:
    begun.now_ms += 40 * DAY_MS
    path = begun.seal(begun.delivered.archive, "d.while it was ahead", days_old=-40)
    assert look_for(begun, hours=1) == 0
    begun.now_ms -= 40 * DAY_MS
    assert look_for(begun, hours=1) == 0
    assert look_for(begun, hours=23, every_minutes=60) == 1  # the one that was 29 days old
    begun.pass_time(days=28)
    begun.tidy(**MONTH)
    assert path.exists()
    begun.pass_time(days=2)
    assert begun.tidy(**MONTH).expired >= 1  # it does not wait for the day that its manifest says
    assert not path.exists()


def test_a_clock_that_was_behind_while_a_file_was_sealed_makes_it_no_older_once_it_is_right(begun: Lab) -> None:
    for name, days in (("d.1970", 20_000), ("d.last month", 40)):
        begun.now_ms -= days * DAY_MS
        begun.seal(begun.delivered.archive, name, days_old=days)
        assert look_for(begun, hours=1) == 0
        begun.seal(begun.delivered.archive, f"{name}, right before it was put right", days_old=days)
        begun.now_ms += days * DAY_MS
        assert look_for(begun, hours=1) == 0
    begun.pass_time(days=29)
    begun.tidy(**MONTH)
    assert {"delivered/archive/d.1970", "delivered/archive/d.last month"} < set(begun.standing())
    begun.pass_time(days=1)
    begun.tidy(**MONTH)
    assert begun.standing() == {}


def test_days_in_which_the_machine_was_off_do_not_count_and_files_go_after_a_month_of_running(
    begun: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    begun.now_ms += 40 * DAY_MS
    restart_machine(begun)
    assert look_for(begun, hours=22) == 0
    [told] = [record.getMessage() for record in caplog.records if "time.unseen" in record.getMessage()]
    assert told.startswith("time.unseen days=40 ")
    begun.pass_time(days=30)
    assert begun.tidy(**MONTH).expired == 30


def test_who_knows_that_the_machine_was_off_can_let_the_days_count(begun: Lab) -> None:
    begun.now_ms += 20 * DAY_MS
    restart_machine(begun)
    assert begun.tidy(**MONTH).expired == 0
    assert begun.janitor(**MONTH).run(trust_clock=True).expired == 20
    assert begun.tidy(**MONTH).expired == 0


def test_a_directory_that_several_machines_look_at_counts_each_day_once(begun: Lab) -> None:
    accounts = {"a": 1000.0, "b": 5e6}
    for hour in range(48):
        for account, began in accounts.items():
            begun.account, begun.monotonic = account, began + hour * 3600
            begun.tidy(**MONTH)
        begun.now_ms += 3_600_000
    assert len(begun.standing()) in {28, 29}


def test_without_a_wish_for_it_nothing_is_counted_and_with_it_the_manifests_are_believed_first(lab: Lab) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=29)
    lab.tidy()
    assert not list(lab.path.rglob(".sightings.jsonl"))
    assert lab.tidy(**MONTH).expired == 0
    lab.pass_time(days=1)
    assert lab.tidy(**MONTH).expired == 1


def test_a_line_that_began_while_the_clock_was_ahead_makes_no_file_old_when_days_are_first_counted(lab: Lab) -> None:
    lab.now_ms += 40 * DAY_MS
    lab.tidy()
    lab.now_ms -= 40 * DAY_MS
    lab.seal(lab.delivered.archive, "d.1", days_old=29)
    assert lab.tidy(**MONTH).expired == 0
    lab.pass_time(days=1)
    assert lab.tidy(**MONTH).expired == 1


def lose_the_time(lab: Lab) -> None:
    (lab.path / ".passed-time").unlink()


def spoil_the_time(lab: Lab) -> None:
    (lab.path / ".passed-time").write_text('{"passed_ms": -1')


def lose_the_lists(lab: Lab) -> None:
    for file in lab.path.rglob(".sightings.jsonl"):
        file.unlink()


def spoil_the_lists(lab: Lab) -> None:
    for file in lab.path.rglob(".sightings.jsonl"):
        lines = file.read_bytes().splitlines()
        file.write_bytes(b'["d.00", -1]\n{}\n\xff\x00\n["d.01"]\n' + b"\n".join(lines[3:])[:-5])


@pytest.mark.parametrize("harm", [lose_the_time, spoil_the_time, lose_the_lists, spoil_the_lists])
def test_what_the_janitor_remembers_can_be_lost_while_the_clock_is_ahead_and_no_file_goes(
    begun: Lab, harm: Callable[[Lab], None]
) -> None:
    begun.pass_time(hours=5)
    begun.tidy(**MONTH)
    begun.now_ms += 40 * DAY_MS
    restart_machine(begun)
    harm(begun)
    assert look_for(begun, hours=2) == 0
    begun.pass_time(days=31)
    assert begun.tidy(**MONTH).expired == 30  # and it goes on by itself


def test_a_full_disk_delays_and_does_not_stop_what_is_too_old(begun: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    begun.seal(begun.delivered.archive, "d.99")
    with monkeypatch.context() as patch:
        patch.setattr("worker.janitor.line.write_durably", full)
        patch.setattr("worker.janitor.sightings.write_durably", full)
        patch.setattr("worker.janitor.sightings.write_all", full)
        begun.pass_time(days=1)
        assert begun.tidy(**MONTH).expired == 1
    begun.pass_time(days=29)
    assert begun.tidy(**MONTH).expired == 29
    assert len(begun.standing()) == 1


def test_above_keep_mb_the_files_go_that_have_been_seen_the_longest(begun: Lab) -> None:
    begun.pass_time(days=1)
    path = begun.seal(begun.delivered.archive, "d.by a clock that was behind", days_old=9_000)
    assert begun.tidy(keep_bytes=path.stat().st_size).expired == 30
    assert path.exists()


def test_with_an_upload_and_no_days_a_file_goes_at_once_though_it_was_sealed_in_the_future(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lab.seal(lab.delivered.archive, "d.1", days_old=-40)
    assert lab.tidy(keep_days=0, archive_url=tmp_path_factory.mktemp("store").as_uri()).expired == 1


def test_the_list_of_sightings_stays_as_short_as_there_are_files(begun: Lab) -> None:
    file = begun.delivered.open / ".sightings.jsonl"
    file.write_bytes(file.read_bytes() + b"".join(b'["d.gone.%d", 7]\n' % number for number in range(1100)))
    begun.tidy(**MONTH)
    assert file.read_bytes().count(b"\n") == 30


def test_a_run_that_is_asked_to_stop_forgets_no_sighting(begun: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.janitor.sightings._SPARE_LINES", 0)
    begun.pass_time(hours=1)
    janitor, real = begun.janitor(**MONTH), Path.exists
    looks = 0

    def exists(path: Path) -> bool:
        nonlocal looks
        looks += path.name.startswith("d.")
        if looks == 40:  # in the midst of the list of what can expire
            janitor.stop()
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", exists)
        janitor.run()
    assert looks == 40
    begun.pass_time(days=30)
    assert begun.tidy(**MONTH).expired == 30


def test_a_manifest_of_an_early_version_is_as_old_as_its_last_row(lab: Lab) -> None:
    for name, last_time_ms in (("d.1", NOW_MS - 31 * DAY_MS), ("d.2", NOW_MS - DAY_MS)):
        path = manifest_path(lab.seal(lab.delivered.archive, name))
        manifest = decode(path.read_bytes(), path)
        path.chmod(0o640)
        early = msgspec.structs.replace(
            manifest, sealed_ms=None, opened_ms=NOW_MS - 50 * DAY_MS, last_time_ms=last_time_ms
        )
        path.write_bytes(encode(early))
        path.chmod(0o440)
    assert lab.tidy(**MONTH).expired == 1
    assert list(lab.standing()) == ["delivered/archive/d.2"]


def test_a_worker_begins_to_count_before_it_seals_anything(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lab.seal(lab.delivered.archive, "d.1", days_old=1)
    lab.janitor(**MONTH).begin()
    lab.now_ms += 40 * DAY_MS
    lab.seal(lab.delivered.archive, "d.2")
    assert lab.tidy(**MONTH).expired == 0
    lab.now_ms -= 40 * DAY_MS
    lab.pass_time(days=29)
    assert lab.tidy(**MONTH).expired == 1
