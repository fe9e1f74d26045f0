"""The deep audit where files have several layouts: workers restarted one by one with another configuration."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.events import TYPES
from tests.server.test_audit_deep import deep, rcpt, rewrite, rows
from tests.support.events import make_event
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, HandClock, changed, drain, make_worker, settings
from worker.audit.finding import Kind
from worker.inventory import configured_places, sealed
from worker.loop import Worker
from worker.records import id_order
from worker.settings import Format, Settings
from worker.stream.dead_letters import dead_letters
from worker.stream.keys import GROUP, Keys
from worker.stream.link import connector

KEYS = Keys.of(PARTITION)
BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = ("type", "timeLogged", "rcpt", "jobId", "orig", "dsnMsg")


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def publisher(client: Any) -> Publisher:
    return Publisher(client, PARTITION)


def layout(path: Path, number: int = 1, **rows: Any) -> Settings:
    """Return the settings of a worker whose rows are other than usual."""
    if "columns" in rows:
        rows["columns"] = dict.fromkeys(TYPES, rows["columns"])
    configured = changed(settings(path / "files", name=f"worker-{number}"), "rotation", max_size_bytes=500)
    return changed(configured, "rows", **rows)


class Crew:
    """Workers with different layouts on one directory, which take turns: the ids in their files overlap."""

    def __init__(self, url: str, publisher: Publisher) -> None:
        self._url = url
        self._publisher = publisher
        self._workers: list[tuple[Worker, int]] = []

    def join(self, *configured: Settings) -> None:
        """Let workers of these settings work from now on."""
        for each in configured:
            worker = make_worker(each, None, HandClock(), url=self._url)
            worker.recover()
            self._workers.append((worker, 0))

    def write(self, turns: int, *, recipients: int = 1) -> None:
        """Publish an event of each type at a time, for one worker after the other."""
        for turn in range(turns):
            self._publisher.publish_some(3, recipients=recipients)
            self.step(turn % len(self._workers), 3)

    def step(self, number: int, events: int) -> None:
        """Let a worker write what was published: so many events."""
        worker, done = self._workers[number]
        drain(worker, done + events)
        self._workers[number] = worker, done + events

    def stop(self) -> None:
        """Let them all stop, and seal their files."""
        for worker, _ in self._workers:
            worker.stop()
            worker.run()
        self._workers = []

    def die(self) -> None:
        """Let their files be open."""
        for worker, _ in self._workers:
            worker.release()
        self._workers = []


@pytest.fixture
def crew(valkey: RealValkey, publisher: Publisher) -> Iterator[Crew]:
    made = Crew(valkey.url, publisher)
    yield made
    made.die()


def files_in(configured: Settings, event_type: str) -> list[Path]:
    """Return the files that hold the rows of a worker, the oldest first."""
    place = configured_places(configured.directory)[event_type]
    found = [each for each in sealed(place) if each.manifest and each.manifest.writer == configured.worker.name]
    paths = [each.path for each in sorted(found, key=lambda each: id_order(each.first_id or ""))]
    for path in paths:
        path.chmod(0o640)
    return paths


LAYOUTS = [
    pytest.param({"columns": ("rcpt", "type", "jobId")}, id="fewer columns"),
    pytest.param({"columns": ("type", "rcpt", "jobId", "vmta", "node", "custom_X-Mailing")}, id="other columns"),
    pytest.param({"columns": ("jobId",)}, id="one column"),
    pytest.param({"columns": ("node",)}, id="no column in common"),
    pytest.param({"timezone": BERLIN}, id="time zone"),
    pytest.param({"format": Format.CSV, "separator": ";"}, id="csv"),
    pytest.param({"guarded": True}, id="guarded"),
    pytest.param({"format": Format.JSONL, "timezone": BERLIN}, id="jsonl in another time zone"),
    pytest.param({"format": Format.ORIGINAL, "columns": ("type", "rcpt", "dsnMsg", "jobId")}, id="original"),
]


@pytest.mark.parametrize("other", LAYOUTS)
@pytest.mark.parametrize("is_open", [False, True], ids=["sealed", "open"])
def test_rows_in_files_of_two_layouts_that_overlap_are_all_accounted_for_whatever_is_configured(
    crew: Crew, valkey: RealValkey, tmp_path: Path, other: dict[str, Any], *, is_open: bool
) -> None:
    first, second = layout(tmp_path, 1, columns=COLUMNS), layout(tmp_path, 2, **{"columns": COLUMNS} | other)
    crew.join(first, second)
    crew.write(24, recipients=2)
    crew.die() if is_open else crew.stop()
    for configured in (first, second, layout(tmp_path, timezone=BERLIN)):
        report = deep(configured, valkey.url)
        assert report.findings == []
        assert [(each.rows_in_files, each.rows_of_events) for each in report.types] == [(48, 48)] * 3


@pytest.mark.parametrize("other", LAYOUTS[:2] + LAYOUTS[4:])
@pytest.mark.parametrize("number", [0, 1])
def test_a_row_that_was_removed_doubled_or_altered_in_either_layout_is_told_rightly(
    crew: Crew, valkey: RealValkey, tmp_path: Path, other: dict[str, Any], number: int
) -> None:
    both = [layout(tmp_path, 1, columns=COLUMNS), layout(tmp_path, 2, **{"columns": COLUMNS} | other)]
    crew.join(*both)
    crew.write(16)
    crew.stop()
    [removed, *_], [doubled, *_], [altered, *_] = (files_in(both[number], name) for name in TYPES)
    gone = rewrite(removed, lambda lines: lines[:2] + lines[3:])[2]
    rewrite(doubled, lambda lines: [*lines, lines[1]])
    was = rewrite(altered, lambda lines: [*lines[:3], lines[3].replace(b"JOB", b"JOC"), *lines[4:]])[3]
    report = deep(both[0], valkey.url)
    assert rows(report) == [
        ("row missing", rcpt(gone), None, None),
        ("row doubled", None, [2, len(doubled.read_bytes().splitlines())], None),
        ("row altered", rcpt(was), [4], ("jobId",)),
    ]
    assert [(each.missing, each.doubled, each.altered, each.unexpected) for each in report.types] == [
        (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("other", LAYOUTS[:2] + LAYOUTS[4:])
def test_a_row_that_stands_once_in_each_layout_is_doubled_and_both_places_are_named(
    crew: Crew, publisher: Publisher, valkey: RealValkey, tmp_path: Path, other: dict[str, Any]
) -> None:
    client = valkey.client()
    both = [layout(tmp_path, 1, columns=COLUMNS), layout(tmp_path, 2, **{"columns": COLUMNS} | other)]
    crew.join(*both)
    crew.write(8)
    stream = KEYS.streams["bounce"]
    publisher.publish({"bounce": [make_event("bounce", 500)]})
    crew.step(0, 1)
    client.xgroup_setid(stream, GROUP, client.xrevrange(stream, count=2)[-1][0])
    client.hincrby(KEYS.ledger, "bounce:replayed", 1)
    crew.step(1, 1)
    crew.stop()
    [finding] = deep(both[0], valkey.url).findings
    assert (finding.kind, finding.count, len(finding.lines or ())) == (Kind.ROW_DOUBLED, 1, 2)
    places_named = [files_in(each, "bounce")[-1] for each in both]
    assert all(str(path) in finding.text for path in places_named)


@pytest.mark.parametrize("columns", [("rcpt",), ("rcpt", "vmta"), ("node",)])
def test_events_that_one_layout_does_not_tell_apart_are_counted_in_it(
    crew: Crew, publisher: Publisher, valkey: RealValkey, tmp_path: Path, columns: Sequence[str]
) -> None:
    first, second = layout(tmp_path, 1, columns=COLUMNS), layout(tmp_path, 2, columns=columns)
    crew.join(first, second)
    for turn in range(30):
        publisher.publish(
            {"deferred": [make_event("deferred", 7, jobId=f"JOB-{turn}")]}
        )  # the same recipient each time
        crew.step(turn % 3 % 2, 1)
    crew.stop()
    assert deep(first, valkey.url).findings == []
    files = [files_in(first, "deferred")[0], files_in(second, "deferred")[0]]
    for number, file in enumerate(files, 1):
        rewrite(file, lambda lines: lines[:1] + lines[2:])
        found = rows(deep(second, valkey.url))
        assert [each[:2] for each in found] == [("row missing", "deferred7.0@example.com")] * number
    rewrite(files[0], lambda lines: [*lines, lines[1], lines[1]])
    found = rows(deep(first, valkey.url))
    assert sorted(each[0] for each in found) == ["row doubled", "row missing", "row missing"]


def test_three_layouts_are_as_good_as_one(crew: Crew, valkey: RealValkey, tmp_path: Path) -> None:
    all_of_them = [
        layout(tmp_path, 1, columns=COLUMNS),
        layout(tmp_path, 2, columns=COLUMNS[2:], format=Format.JSONL),
        layout(tmp_path, 3, columns=(*COLUMNS[:4], "node"), timezone=BERLIN),
    ]
    crew.join(*all_of_them)
    crew.write(30, recipients=2)
    crew.stop()
    assert deep(all_of_them[0], valkey.url).findings == []
    gone = {rcpt(rewrite(files_in(each, "bounce")[0], lambda lines: lines[:3] + lines[4:])[3]) for each in all_of_them}
    found = rows(deep(all_of_them[1], valkey.url))
    assert {each[:2] for each in found} == {("row missing", recipient) for recipient in gone}


def test_a_row_in_the_layout_of_another_file_is_told_as_altered(crew: Crew, valkey: RealValkey, tmp_path: Path) -> None:
    first, second = layout(tmp_path, 1, columns=COLUMNS), layout(tmp_path, 2, columns=COLUMNS[2:])
    crew.join(first, second)
    crew.write(6)
    crew.stop()
    [mine], [other] = files_in(first, "bounce"), files_in(second, "bounce")
    moved = rewrite(mine, lambda lines: lines[:-1])[-1]
    line = len(rewrite(other, lambda lines: [*lines, moved])) + 1
    assert rows(deep(first, valkey.url)) == [("row altered", rcpt(moved), [line], ("the number of columns",))]


def test_an_event_that_only_one_layout_can_show_must_stand_in_it(
    client: Any, crew: Crew, publisher: Publisher, valkey: RealValkey, tmp_path: Path
) -> None:
    first, second = layout(tmp_path, 1, columns=(*COLUMNS, "srcMta")), layout(tmp_path, 2, columns=COLUMNS)
    crew.join(first, second)
    crew.write(4)
    for number, (worker, mta) in enumerate([(0, 5), (1, 5), (0, "mx"), (1, "mx"), (1, 5), (0, 5)]):
        publisher.publish(
            {"bounce": [make_event("bounce", 100 + number, srcMta=mta), make_event("bounce", 200 + number)]}
        )
        crew.step(worker, 2)
    crew.stop()
    assert client.xlen(KEYS.dead) == 2
    for configured in (first, second):
        assert deep(configured, valkey.url).findings == []
    with dead_letters(connector(first.stream, valkey.url), PARTITION, change=True) as dead:
        [one, other] = list(dead.letters(dead.last_id()))
        dead.drop(one.id)
        dead.retry(other)
    assert deep(first, valkey.url).findings == []
    crew.join(changed(second, "worker", name="worker-3"))
    crew.step(0, 1)
    crew.stop()
    assert deep(first, valkey.url).findings == []
    file = files_in(second, "bounce")[-1]
    gone = rewrite(file, lambda lines: [line for line in lines if b"bounce101." not in line])
    assert any(b"bounce101." in line for line in gone)
    assert [each[:2] for each in rows(deep(first, valkey.url))] == [("row missing", "bounce101.0@example.com")]
