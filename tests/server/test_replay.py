"""Replay into a directory, on a real Valkey: the same rows and bytes on any day, nothing touched on the server."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TAGS, TYPES
from tests.server.test_command_line import run
from tests.support.events import make_event
from tests.support.files import check_manifest, data_files, recipients_in, rows_of
from tests.support.replay import INI, KEYS, Lab, digests, sorted_rows
from tests.support.servers import RealValkey, wait_until
from worker.errors import ExitCode
from worker.manifest import manifest_path
from worker.naming import Stamp
from worker.stream.keys import GROUP


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Lab:
    return Lab(valkey, tmp_path)


def state_of(client: Any) -> list[Any]:
    """Return everything that the server holds."""
    dumps = [client.dump(key) for key in sorted(client.keys("*"))]
    return [dumps, *(client.execute_command("XINFO", "GROUPS", key) for key in KEYS.streams.values())]


def test_after_the_files_are_gone_a_replay_gives_every_row_back_byte_for_byte(lab: Lab) -> None:
    lab.publisher.publish_some(90, per_batch=3, recipients=2)
    lab.work(540)
    files = lab.path / "files"
    before = {name: sorted_rows(files, name) for name in TYPES}
    assert all(len(data_files(files, name)) > 1 for name in TYPES), "no rotation"
    shutil.rmtree(files)
    told = lab.replay()
    assert {name: sorted_rows(lab.path / "out", name) for name in TYPES} == before
    assert (told["events"], told["rows"], told["dead"], told["missing"]) == (270, 540, 0, [])
    assert not files.exists()


def test_replaying_twice_gives_identical_files_under_identical_names(lab: Lab) -> None:
    lab.publisher.publish_some(60, per_batch=4)
    first, second = lab.replay(into="one"), lab.replay(into="two")
    assert digests(lab.path / "one") == digests(lab.path / "two")
    assert len(digests(lab.path / "one")) == 2 * len(first["files"]) > 6
    assert [file["sha256"] for file in first["files"]] == [file["sha256"] for file in second["files"]]
    again = lab.replay(into="one")
    assert all(file["unchanged"] for file in again["files"])
    assert not any(file["unchanged"] for file in first["files"])
    assert digests(lab.path / "one") == digests(lab.path / "two")


def test_a_replayed_file_is_sealed_like_a_workers_and_named_after_its_first_entry(lab: Lab) -> None:
    lab.publisher.publish({"bounce": [make_event("bounce", 1)]})
    entry = "1795373309671-0"  # 2026-11-22 18:48:29 UTC
    lab.client.xadd(KEYS.streams["deferred"], {"events": json.dumps([make_event("deferred", 2)])}, id=entry)
    lab.replay("--types", "deferred")
    file = lab.path / "out" / "deferred" / "archive" / "df.2026-11-22-194829.tsv"
    manifest = check_manifest(file)
    assert (manifest.first_id, manifest.last_id, manifest.opened_ms) == (entry, entry, 1795373309671)
    assert (manifest.writer, manifest.reason, manifest.directory) == ("replay", "replay", "")
    assert (manifest.format, manifest.separator, manifest.timezone) == ("tsv", "\t", "Europe/Berlin")
    assert [row["rcpt"] for row in rows_of(file)] == ["deferred2.0@example.com"]
    assert sorted(digests(lab.path / "out")) == [
        f"deferred/archive/{name}" for name in (file.name, file.name + ".json")
    ]


def test_files_are_split_at_max_size_by_whole_entries_whatever_the_pages(lab: Lab) -> None:
    for batch in range(40):
        lab.publisher.publish({"delivered": [make_event("delivered", 10 * batch + i) for i in range(1 + batch % 5)]})
    lab.replay()
    files = sorted(
        data_files(lab.path / "out", "delivered"), key=lambda file: Stamp.parse(file.name[2:-4]) or Stamp("")
    )
    assert len(files) > 3
    assert all(file.stat().st_size >= 3000 for file in files[:-1])
    by_file = [{row["rcpt"].partition(".")[0] for row in rows_of(file)} for file in files]
    for batch in range(40):
        events = {f"delivered{10 * batch + i}" for i in range(1 + batch % 5)}
        assert sum(bool(events & each) for each in by_file) == 1, "an entry stands in two files"
    first_rows = [int(rows_of(file)[0]["rcpt"].removeprefix("delivered").partition(".")[0]) for file in files]
    assert first_rows == sorted(first_rows)
    lab.configure(INI.replace("archiving=true", "archiving=false"))
    assert len(lab.replay(into="whole")["files"]) == 1


def test_nothing_changes_on_the_server(lab: Lab) -> None:
    lab.publisher.publish_some(30)
    for key in KEYS.streams.values():
        lab.client.xgroup_create(key, GROUP, "0")
        lab.client.xreadgroup(GROUP, "someone", {key: ">"}, count=3)
    before = state_of(lab.client)
    lab.replay()
    lab.command("--from", "-", "--export", "out.ndjson")
    assert state_of(lab.client) == before


def test_ids_at_the_borders_belong_to_the_range_and_a_time_as_its_end_does_not(lab: Lab) -> None:
    for second in range(5):
        event = make_event("delivered", second)
        fields = {"events": json.dumps([event]), "n": 1, "at": second + 1}
        lab.client.xadd(KEYS.streams["delivered"], fields, id=f"{1795373309 + second}000-0")

    def replayed(start: str, end: str, into: str) -> list[str]:
        lab.replay("--to", end, into=into, start=start)
        return [row["rcpt"] for file in data_files(lab.path / into, "delivered") for row in rows_of(file)]

    def of(*seconds: int) -> list[str]:
        return [f"delivered{second}.0@example.com" for second in seconds]

    assert replayed("1795373310000-0", "1795373312000-0", "ids") == of(1, 2, 3)
    assert replayed("1795373310000-1", "1795373311999-9", "between") == of(2)
    assert replayed("2026-11-22T19:48:30", "2026-11-22T19:48:32", "local") == of(1, 2)
    assert replayed("2026-11-22T18:48:32Z", "+", "zone") == of(3, 4)
    assert replayed("-", "2026-11-22 18:48:30+00:00", "until") == of(0)
    assert replayed("1795373314000-0", "+", "none") == []


def test_types_and_recipient_domains_are_filtered(lab: Lab) -> None:
    rcpts = ["a@Example.COM", "b@mail.example.com", "c@example.com", "d@other.test", "no-at-sign"]
    event = make_event("delivered", 1) | {"rcpts": [{"rcpt": rcpt} for rcpt in rcpts]}
    other = make_event("delivered", 2) | {"rcpts": [{"rcpt": "e@other.test"}]}
    lab.publisher.publish({"delivered": [event, other], "bounce": [make_event("bounce", 3)]})
    told = lab.replay("--recipient-domain", "EXAMPLE.com", "--types", "delivered")
    assert (told["events"], told["rows"]) == (1, 2)
    assert sorted(recipients_in(lab.path / "out")) == ["a@Example.COM", "c@example.com"]
    lab.replay("--recipient-domain", "mail.example.com,other.test", into="two")
    assert sorted(recipients_in(lab.path / "two")) == ["b@mail.example.com", "d@other.test", "e@other.test"]
    lab.replay("--types", "bounce,deferred", into="three")
    assert sorted(recipients_in(lab.path / "three")) == ["bounce3.0@example.com"]


def test_events_that_cannot_become_rows_are_listed_and_stop_nothing(lab: Lab) -> None:
    good = json.dumps([make_event("bounce", 1), {"type": "b"}, make_event("bounce", 2)])
    for payload in (good, "no json", "[]"):
        lab.client.xadd(KEYS.streams["bounce"], {"events": payload, "n": 1, "at": 1})
    lab.client.xadd(KEYS.streams["bounce"], {"something": "else"})
    told = lab.replay()
    assert (told["events"], told["dead"]) == (2, 4)
    assert [letter["index"] for letter in told["dead_events"]] == [1, -1, -1, -1]
    assert sorted(recipients_in(lab.path / "out")) == ["bounce1.0@example.com", "bounce2.0@example.com"]
    shown = lab.command("--from", "-", "--into", "again")
    assert "4 events could not become rows" in shown.stdout


def test_ids_and_values_from_strangers_make_no_strange_names(lab: Lab) -> None:
    event = json.dumps([make_event("delivered", 1, jobId="a\nb\tc", dsnMsg="../../x")])
    key = KEYS.streams["delivered"]
    lab.client.xadd(key, {"n": "-5", "at": "9" * 30, "events": event}, id="1-0")
    lab.client.xadd(key, {"events": event}, id="253370764800001-7")
    lab.client.xadd(key, {"events": event, "n": 1, "at": 1}, id="18446744073709551615-18446744073709551615")
    told = lab.replay()
    assert told["events"] == 3
    [file] = data_files(lab.path / "out", "delivered")
    assert file.name == "d.1970-01-01-010000.tsv"
    late = lab.replay(start="253370764800001-7", into="late")
    assert Path(late["files"][0]["path"]).name == "d.9999-01-01-010000.tsv"
    assert check_manifest(lab.path / late["files"][0]["path"]).last_id == "18446744073709551615-18446744073709551615"


def test_a_range_that_begins_before_the_stream_does_is_told(lab: Lab) -> None:
    lab.publisher.publish_some(30, per_batch=2)
    lab.client.xtrim(KEYS.streams["delivered"], maxlen=4, approximate=False)
    first = lab.ids("delivered")[0]
    lab.client.xtrim(KEYS.streams["bounce"], maxlen=0, approximate=False)
    told = lab.replay()
    assert told["missing"] == [
        {"type": "delivered", "events": 12, "first_id": first},
        {"type": "bounce", "events": 20, "first_id": None},
    ]
    shown = lab.command("--from", "-", "--into", "again")
    assert f"delivered: the stream begins at {first}" in shown.stderr
    assert "12 events before it were trimmed" in shown.stderr
    assert "bounce: the stream is empty" in shown.stderr
    assert lab.replay("--types", "delivered", start=first, into="later")["missing"] == []


def test_a_name_that_is_taken_by_something_else_is_an_error_and_nothing_is_overwritten(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    lab.replay("--types", "bounce")
    [file] = data_files(lab.path / "out", "bounce")
    manifest_path(file).chmod(0o600)
    manifest_path(file).write_text("mine")
    before = digests(lab.path / "out")
    done = lab.command("--from", "-", "--into", "out", "--types", "bounce")
    assert done.returncode == ExitCode.FAILED
    assert f"out/bounce/archive/{file.name}.json: holds something else" in done.stderr
    assert digests(lab.path / "out") == before
    manifest_path(file).unlink()
    assert not lab.replay("--types", "bounce")["files"][0]["unchanged"]
    check_manifest(file)


def test_what_an_interrupted_run_left_is_taken_away_by_the_next(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    place = lab.path / "out" / "deferred" / "archive"
    place.mkdir(parents=True)
    for name in (".replay.new", ".replay.new.json"):
        (place / name).write_text("half")
    lab.replay()
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []


def test_what_workers_still_have_to_write_can_be_left_out(lab: Lab) -> None:
    lab.publisher.publish_some(60)
    lab.work(60)
    shutil.rmtree(lab.path / "files")  # the disk is gone, and meanwhile more arrives
    lab.publisher.publish_some(45)
    for key in KEYS.streams.values():
        lab.client.xreadgroup(GROUP, "dead-worker", {key: ">"}, count=4)
    lab.client.xack(KEYS.streams["bounce"], GROUP, lab.ids("bounce")[21])
    told = lab.replay("--acknowledged")
    assert told["rows"] == 61
    assert run("directory", "new", "--config", str(lab.ini), cwd=lab.path).returncode == 0
    lab.work(105 - 61)
    together = recipients_in(lab.path / "out") + recipients_in(lab.path / "files")
    assert (len(together), set(together.values())) == (105, {1})
    assert lab.replay("--acknowledged", into="all")["rows"] == 105


def test_a_replay_that_was_killed_can_be_run_again(lab: Lab) -> None:
    lab.configure(INI.replace("0.003", "0.1"))
    for _ in range(10):
        lab.publisher.publish_some(3, per_batch=1000)
    lab.replay(into="whole")
    command = [sys.executable, "-m", "worker", "replay", "--config", str(lab.ini), "--redis", lab.valkey.url]
    process = subprocess.Popen([*command, "--from", "-", "--into", "out"], cwd=lab.path)
    wait_until(lambda: bool(list((lab.path / "out").rglob("d.*.tsv"))), "a file")
    process.kill()
    process.wait()
    before = {name: digest for name, digest in digests(lab.path / "out").items() if "/." not in name}
    assert before.items() <= digests(lab.path / "whole").items()
    lab.replay()
    assert digests(lab.path / "out") == digests(lab.path / "whole")


def test_a_terminal_shows_how_far_it_is(lab: Lab) -> None:
    lab.publisher.publish_some(30)
    terminal, stderr = pty.openpty()
    command = [sys.executable, "-m", "worker", "replay", "--config", str(lab.ini), "--redis", lab.valkey.url]
    done = subprocess.run(
        [*command, "--from", "-", "--into", "out"], cwd=lab.path, stderr=stderr, stdout=subprocess.PIPE, check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(stderr)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "replaying" in shown
    assert "30 events" in shown
    assert b"30 events, 30 rows in" in done.stdout


def test_a_directory_of_workers_is_refused(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    lab.work(3)
    before = digests(lab.path / "files")
    for place in ("files", "files/delivered", "files/some/where"):
        done = lab.command("--from", "-", "--into", place)
        assert done.returncode == ExitCode.FAILED
        assert "workers write into" in done.stderr
    assert digests(lab.path / "files") == before


def test_every_type_has_files_where_the_configuration_puts_them(lab: Lab) -> None:
    lab.configure("[location]\nbounce=mail/bad\n[archive_to]\nbounce=old\n")
    lab.publisher.publish_some(3)
    lab.replay()
    found = {str(Path(name).parent) for name in digests(lab.path / "out")}
    assert found == {"delivered", "deferred", "mail/bad"}
    assert all(any(f"/{TAGS[name]}." in file for file in digests(lab.path / "out")) for name in TYPES)
