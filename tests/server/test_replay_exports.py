"""What was kept of a range gives the same files as the range itself: exports, and dead letters that can be read now."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.events import make_event
from tests.support.files import recipients_in
from tests.support.replay import KEYS, Lab, digests
from tests.support.servers import RealValkey
from worker.errors import ExitCode


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Lab:
    return Lab(valkey, tmp_path)


def export(lab: Lab, file: str, *arguments: str, start: str = "-") -> Any:
    done = lab.command("--from", start, "--export", file, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def test_an_export_that_is_fed_back_gives_the_bytes_that_the_range_itself_gives(lab: Lab) -> None:
    lab.publisher.publish_some(60, per_batch=3, recipients=2)
    strange = json.dumps([make_event("bounce", 7, dsnMsg='a\tb\n\u2028;"')], indent=1)
    for payload in (strange, "no json", b"\xff\xfe", json.dumps([{"type": "b"}, make_event("bounce", 8)])):
        lab.client.xadd(KEYS.streams["bounce"], {"events": payload, "n": 1, "at": 99})
    told = lab.replay()
    export(lab, "out.ndjson")
    again = lab.command("--from-archive", "out.ndjson", "--into", "again", "--json")
    assert again.returncode == 0, again.stderr
    assert digests(lab.path / "again") == digests(lab.path / "out")
    assert json.loads(again.stdout)["dead_events"] == told["dead_events"]
    assert len(told["dead_events"]) == 3
    lines = [json.loads(line) for line in (lab.path / "out.ndjson").read_text().splitlines()]
    assert [line["id"] for line in lines if line["type"] == "bounce"] == lab.ids("bounce")
    assert lines[0]["events"][0]["rcpts"][0] == {"rcpt": "delivered0.0@example.com"}


def test_exports_of_ranges_that_follow_each_other_are_one_range(lab: Lab) -> None:
    lab.publisher.publish_some(60)
    middle = lab.ids("deferred")[9]
    export(lab, "a.ndjson", "--to", middle)
    milliseconds, sequence = map(int, middle.split("-"))
    export(lab, "b.ndjson", start=f"{milliseconds}-{sequence + 1}")
    lab.replay()
    done = lab.command("--from-archive", "a.ndjson", "b.ndjson", "--into", "again")
    assert done.returncode == 0, done.stderr
    assert digests(lab.path / "again") == digests(lab.path / "out")
    overlap = lab.command("--from-archive", "b.ndjson", "a.ndjson", "--into", "x")
    assert overlap.returncode == ExitCode.FAILED
    assert "a.ndjson:1: delivered" in overlap.stderr
    assert "expected exports in order, no overlap" in overlap.stderr


def test_types_domains_and_ranges_are_taken_out_of_an_export_too(lab: Lab) -> None:
    lab.publisher.publish_some(30)
    ids = lab.ids("bounce")
    export(lab, "out.ndjson")
    chosen = ("--types", "bounce", "--to", ids[4], "--recipient-domain", "EXAMPLE.com", "--from", ids[2])
    done = lab.command("--from-archive", "out.ndjson", "--into", "out", *chosen)
    assert done.returncode == 0, done.stderr
    assert list(recipients_in(lab.path / "out")) == [f"bounce{number}.0@example.com" for number in (8, 11, 14)]


def test_an_export_goes_through_standard_output_and_input(lab: Lab) -> None:
    lab.publisher.publish_some(30)
    export(lab, "out.ndjson")
    piped = export(lab, "-")
    assert piped.stdout == (lab.path / "out.ndjson").read_text()
    assert "30 entries" in piped.stderr


def test_an_export_replaces_no_file(lab: Lab) -> None:
    lab.publisher.publish_some(30)
    export(lab, "out.ndjson")
    assert "unchanged" in export(lab, "out.ndjson").stdout
    (lab.path / "mine.ndjson").write_text("mine")
    done = lab.command("--from", "-", "--export", "mine.ndjson")
    assert (done.returncode, "mine.ndjson: holds something else" in done.stderr) == (ExitCode.FAILED, True)
    assert (lab.path / "mine.ndjson").read_text() == "mine"
    assert sorted(path.name for path in lab.path.glob("*ndjson*")) == ["mine.ndjson", "out.ndjson"]
    assert "No such file or directory" in lab.command("--from", "-", "--export", "no/such/out.ndjson").stderr


def test_a_bad_line_is_told_with_file_and_line_and_no_unfinished_file_stays(lab: Lab) -> None:
    lab.publisher.publish_some(6)
    export(lab, "out.ndjson")
    with (lab.path / "out.ndjson").open("a") as file:
        file.write("\n{\n")
    done = lab.command("--from-archive", "out.ndjson", "--into", "out")
    assert done.returncode == ExitCode.FAILED
    assert "out.ndjson:8: " in done.stderr
    assert 'expected {"id":"1795373309671-0"' in done.stderr
    assert digests(lab.path / "out") == {}
    assert "gone.ndjson: No such file" in lab.command("--from-archive", "gone.ndjson", "--into", "out").stderr


def test_dead_letters_that_can_be_read_now_become_rows_and_stay_where_they_are(lab: Lab) -> None:
    good = [json.dumps(make_event("bounce", number)) for number in range(4)]
    letters = [
        {"type": "bounce", "id": "20-0", "index": 1, "bytes": good[2]},
        {"type": "bounce", "id": "20-0", "index": 0, "bytes": good[1]},
        {"type": "bounce", "id": "3-0", "index": -1, "bytes": f"[{good[0]}]"},
        {"type": "bounce", "id": "30-0", "index": 0, "bytes": "still no json"},
        {"type": "bounce", "id": "strange", "index": 0, "bytes": good[3]},
        {"type": "else", "id": "5-0", "index": 0, "bytes": good[3]},
    ]
    for letter in letters:
        lab.client.xadd(KEYS.dead, letter)
    before = lab.client.dump(KEYS.dead)
    done = lab.command("--from-archive", "dead", "--into", "out", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["dead"]) == (3, 1)
    assert [letter["entry"] for letter in told["dead_events"]] == ["30-0"]
    assert list(recipients_in(lab.path / "out")) == [f"bounce{number}.0@example.com" for number in range(3)]
    assert "left out 2 dead letters that belong to no stream" in done.stderr
    assert lab.client.dump(KEYS.dead) == before
