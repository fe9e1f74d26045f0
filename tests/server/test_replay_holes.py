"""A range that is trimmed while it is read, on a real Valkey: what could not be read any more is told, to the event."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.support.events import encode, make_event
from tests.support.files import recipients_in
from tests.support.replay import KEYS, Lab
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, settings
from worker.commands.replayed import Report
from worker.errors import ExitCode
from worker.replay.exports import Export
from worker.replay.holes import Incomplete
from worker.replay.job import Replay
from worker.replay.sources import StreamSource, missing
from worker.replay.span import Span, after, before
from worker.stream.link import connector
from worker.stream.ranges import ranges

ALL = Span("0-0", "18446744073709551615-18446744073709551615")
BATCHES = 900  # 300 of a type, which are several pages


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Lab:
    return Lab(valkey, tmp_path)


@contextmanager
def opened(lab: Lab, *, acknowledged: bool = False) -> Iterator[StreamSource]:
    with ranges(connector(settings(lab.path).stream, lab.valkey.url), PARTITION) as found:
        yield StreamSource(found, TYPES, ALL, acknowledged=acknowledged)


def trim(lab: Lab, event_type: str, left: int) -> None:
    """Trim a stream as workers do, and leave its newest entries."""
    ids = lab.ids(event_type)
    below = ids[-left] if left else after(ids[-1])
    lab.client.xtrim(KEYS.streams[event_type], minid=below, approximate=False)


def replayed(lab: Lab, event_type: str) -> list[int]:
    """Return the numbers of the events of a type that a replay has written."""
    rows = (rcpt for rcpt in recipients_in(lab.path / "out") if rcpt.startswith(event_type))
    return sorted(int(rcpt.removeprefix(event_type).partition(".")[0]) for rcpt in rows)


def test_what_is_trimmed_between_two_pages_is_told_to_the_event_with_its_ids(lab: Lab) -> None:
    lab.publisher.publish_some(BATCHES)
    ids = lab.ids("delivered")
    with opened(lab) as source:
        replay = Replay(settings(lab.path / "files"), lab.path / "out")
        for page, _ in enumerate(replay.run(source)):
            if page == 0:
                trim(lab, "delivered", 20)
    [hole] = source.holes
    assert hole.events is not None
    assert 0 < hole.events < len(ids) - 20
    assert replay.tally.events + hole.events == BATCHES
    there = replayed(lab, "delivered")
    gone = [entry_id for number, entry_id in enumerate(ids) if 3 * number not in there]
    assert len(gone) == hole.events
    assert (hole.type, hole.from_id) == ("delivered", after(ids[ids.index(gone[0]) - 1]))
    assert Span(hole.from_id, hole.to_id).holds(gone[0])
    assert Span(hole.from_id, hole.to_id).holds(gone[-1])
    assert not Span(hole.from_id, hole.to_id).holds(ids[ids.index(gone[-1]) + 1])


@pytest.mark.parametrize(("left", "which"), [(5, "all"), (0, "all"), (5, "acknowledged")])
def test_a_type_that_is_trimmed_before_its_turn_is_told_though_its_first_page_is_whole(
    lab: Lab, left: int, which: str
) -> None:
    lab.publisher.publish_some(60)
    lab.work(60)
    ids = lab.ids("bounce")
    with opened(lab, acknowledged=which == "acknowledged") as source:
        trim(lab, "bounce", left)
        replay = Replay(settings(lab.path / "files"), lab.path / "out")
        assert list(replay.run(source))
    [hole] = source.holes
    assert source.missing == []
    assert (hole.type, hole.events, hole.from_id) == ("bounce", 20 - left, ids[0])
    assert Span(hole.from_id, hole.to_id).holds(ids[19 - left])
    assert replayed(lab, "bounce") == [2 + 3 * number for number in range(20 - left, 20)]
    assert [len(replayed(lab, name)) for name in ("delivered", "deferred")] == [20, 20]


def test_an_export_of_a_stream_that_is_trimmed_meanwhile_tells_it_too(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.publisher.publish_some(BATCHES)
    with opened(lab) as source:
        export = Export(source)
        for page, _ in enumerate(export.run(str(lab.path / "out.ndjson"), sys.stdout.buffer.writelines)):
            if page == 0:
                trim(lab, "delivered", 20)
                trim(lab, "bounce", 7)
    told = {hole.type: hole.events for hole in source.holes}
    lines = [json.loads(line)["type"] for line in (lab.path / "out.ndjson").read_text().splitlines()]
    assert {name: lines.count(name) + (told.get(name) or 0) for name in TYPES} == dict.fromkeys(TYPES, 300)
    assert told["bounce"] == 293
    with pytest.raises(Incomplete, match=f"^incomplete: {sum(filter(None, told.values()))} events of the range"):
        Report(source, ALL).show_export(export, "out.ndjson", as_json=False, err=False)
    shown = capsys.readouterr()
    assert "bounce: 293 events between " in shown.err
    assert "again the same" not in shown.out


@pytest.mark.parametrize("way", ["--into", "--export"])
def test_a_range_with_a_hole_in_it_is_written_warned_of_and_ends_with_an_exit_code(lab: Lab, way: str) -> None:
    for batch in range(10):
        lab.publisher.publish({"bounce": [make_event("bounce", 3 * batch + i) for i in range(3)]})
    ids = lab.ids("bounce")
    lab.client.xdel(KEYS.streams["bounce"], *ids[4:6])
    done = lab.command("--from", "-", way, "out", "--json")
    assert done.returncode == ExitCode.FAILED
    hole = {"type": "bounce", "events": 6, "from_id": after(ids[3]), "to_id": before(ids[6])}
    assert json.loads(done.stdout)["holes"] == [hole]
    assert f"warning: bounce: 6 events between {hole['from_id']} and {hole['to_id']} are gone" in done.stderr
    assert done.stderr.endswith(
        "haraka-accounting: incomplete: 6 events of the range are missing in what was written\n"
    )
    if way == "--into":
        assert replayed(lab, "bounce") == [*range(12), *range(18, 30)]
        assert lab.command("--from", ids[6], way, "later").returncode == 0


def test_entries_that_others_added_or_copied_are_no_holes(lab: Lab) -> None:
    lab.publisher.publish_some(9)
    key = KEYS.streams["bounce"]
    lab.client.xadd(key, {"events": encode([make_event("bounce", 100)])})
    lab.client.xadd(key, lab.client.xrange(key)[0][1])
    lab.publisher.publish_some(9)
    lab.client.xadd(key, {"events": encode([make_event("bounce", 101)]), "n": 1, "at": 5000})
    told = lab.replay()
    assert (told["holes"], told["events"]) == ([], 21)
    lab.client.delete(KEYS.ledger)  # the numbers begin anew
    lab.publisher.publish_some(9)
    told = lab.replay(into="anew")
    assert (told["holes"], told["events"]) == ([], 30)


@pytest.mark.parametrize("left", [0, 5])
def test_what_went_since_the_range_was_looked_at_is_not_told_as_trimmed_before_it(lab: Lab, left: int) -> None:
    lab.publisher.publish_some(60)
    with ranges(connector(settings(lab.path).stream, lab.valkey.url), PARTITION) as found:
        first = found.first("bounce")
        trim(lab, "bounce", left)
        assert missing(found, "bounce", ALL, first) is None
        lack = missing(found, "bounce", ALL)
        assert lack is not None
        assert lack.events == 20 - left
