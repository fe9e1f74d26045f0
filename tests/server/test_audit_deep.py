"""The deep audit: it names every row that is missing, doubled, altered or of no event, and nothing else."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TYPES
from tests.server.test_command_line import run, write_ini
from tests.support.audits import a_sealed_file, shelf, work
from tests.support.events import encode, make_event
from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, changed, settings
from worker.audit.deep.run import DeepReport, Question, deep_audit
from worker.audit.finding import Kind
from worker.audit.report import Known
from worker.catalogue import append
from worker.inventory import configured_places, sealed
from worker.janitor.compress import compress
from worker.janitor.expire import expire
from worker.manifest import Uploaded, manifest_path
from worker.records import id_order
from worker.replay.span import Span
from worker.settings import Compression, Format, Settings
from worker.stream.dead_letters import dead_letters
from worker.stream.keys import GROUP, Keys
from worker.stream.link import connector

KEYS = Keys.of(PARTITION)
Tell = Callable[[int, int], object]
EVERYTHING = Span("0-0", "18446744073709551615-0")


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return changed(settings(tmp_path / "files"), "rotation", max_size_bytes=2_000)


@pytest.fixture
def publisher(client: Any) -> Publisher:
    return Publisher(client, PARTITION)


def deep(
    configured: Settings, url: str, *others: Settings, span: Span = EVERYTHING, tell: Tell = lambda _done, _count: None
) -> DeepReport:
    """Return what a deep audit finds; `tell` is called as rows are read."""
    question = Question(span=span, types=TYPES, rows=configured.rows, known=Known(lost=0))
    connect = connector(configured.stream, url)
    shelves = [configured, *others]

    def watch(_total: int) -> Any:
        return nullcontext(tell)

    return deep_audit(connect, PARTITION, lambda: [shelf(each) for each in shelves], question, watch)


def rows(report: DeepReport) -> list[tuple[str, Any, Any, Any]]:
    """Return the findings that name rows."""
    found = [each for each in report.findings if each.kind.startswith("row ")]
    return [(each.kind, each.rcpt, each.lines, each.columns) for each in found]


def rewrite(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    """Change the lines of a file, and return what they were."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(change(list(lines))))
    return lines


def rcpt(line: bytes) -> str:
    [found] = re.findall(rb"[a-z]+[0-9]+\.[0-9]+@example\.com", line)
    return str(found.decode())


def test_rows_of_every_shape_are_as_their_events_say(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(60, per_batch=3, recipients=2)
    publisher.publish({"bounce": [make_event("bounce", 7_000, custom={}, orig="söme\\one\u2028@example.com")]})
    publisher.publish({"bounce": [make_event("bounce", 7_001, srcMta=5), make_event("bounce", 7_002)]})
    work(configured, valkey.url, 183, stop=False)
    publisher.publish_some(9, per_batch=4)
    client.xreadgroup(GROUP, "another", dict.fromkeys(KEYS.streams.values(), ">"), count=2)
    client.xadd(KEYS.streams["bounce"], {"events": b"no json"})
    report = deep(configured, valkey.url)
    assert report.findings == []
    assert [each.rows_of_events for each in report.types] == [120, 120, 122]
    assert [each.rows_in_files for each in report.types] == [120, 120, 122]


def test_a_row_that_was_removed_doubled_or_altered_is_named(
    configured: Settings, publisher: Publisher, valkey: RealValkey, tmp_path: Path
) -> None:
    publisher.publish_some(120)
    work(configured, valkey.url, 120)
    removed, doubled, altered = (sealed_files(configured.directory.path, name)[0] for name in TYPES)
    for file in (removed, doubled, altered):
        file.chmod(0o640)
    gone = rewrite(removed, lambda lines: lines[:2] + lines[3:])[2]
    rewrite(doubled, lambda lines: [*lines, lines[1]])
    was = rewrite(altered, lambda lines: [*lines[:4], lines[4].replace(b"JOB", b"JOC"), *lines[5:]])[4]
    report = deep(configured, valkey.url)
    assert rows(report) == [
        ("row missing", rcpt(gone), None, None),
        ("row doubled", None, [2, len(doubled.read_bytes().splitlines())], None),
        ("row altered", rcpt(was), [5], ("jobId",)),
    ]
    assert [(each.missing, each.doubled, each.altered, each.unexpected) for each in report.types] == [
        (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0),
    ]  # fmt: skip
    result = run("audit", "--deep", "--json", "--redis", valkey.url, "--config", str(write_ini(tmp_path)), cwd=tmp_path)
    assert result.returncode == 1
    found = [each for each in json.loads(result.stdout)["findings"] if each["kind"] == "row missing"]
    [entry] = [entry_id for entry_id, fields in valkey.client().xrange(KEYS.streams["delivered"])
               if rcpt(gone).encode() in fields[b"events"]]  # fmt: skip
    assert [(each["entry"], each["event"], each["rcpt"]) for each in found] == [(entry.decode(), 0, rcpt(gone))]
    shown = run(
        "audit",
        "--deep",
        "--types",
        "bounce",
        "--redis",
        valkey.url,
        "--config",
        str(write_ini(tmp_path)),
        cwd=tmp_path,
    )
    assert (shown.returncode, f"{altered} line 5: jobId of {rcpt(was)}" in shown.stdout) == (1, True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: [b"x" + lines[0][1:], *lines[1:]], [Kind.HEADER]),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], [Kind.FILE_SIZE]),  # the last line break
        (lambda lines: [*lines, b"somebody wrote this\n"], [Kind.FILE_SIZE, Kind.ROW_UNEXPECTED]),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], []),  # another order
        (lambda lines: [*lines[:1], lines[1].replace(b"\t", b" ", 1), *lines[2:]], [Kind.ROW_ALTERED]),
        (lambda lines: [*lines[:1], lines[1].replace(b"@", b"\xff", 1), *lines[2:]], [Kind.ROW_ALTERED]),
    ],
)
def test_whatever_is_done_to_a_file_is_told_as_what_it_is(
    configured: Settings, publisher: Publisher, valkey: RealValkey, change: Any, expected: list[Kind]
) -> None:
    publisher.publish_some(60)
    work(configured, valkey.url, 60)
    rewrite(a_sealed_file(configured), change)
    assert [each.kind for each in deep(configured, valkey.url).findings] == expected


def test_all_rows_of_a_file_that_is_missing_are_named(
    configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(60)
    work(configured, valkey.url, 60)
    file = a_sealed_file(configured)
    lines = file.read_bytes().splitlines()[1:]
    file.unlink()
    report = deep(configured, valkey.url)
    assert report.findings[0].kind == Kind.FILE_MISSING
    assert sorted(name for _, name, _, _ in rows(report)) == sorted(map(rcpt, lines))


def test_a_range_judges_its_events_alone_and_knows_those_around_it(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(90)
    work(configured, valkey.url, 90)
    entries = [entry_id.decode() for entry_id, _ in client.xrange(KEYS.streams["delivered"])]
    span = Span(entries[3], entries[8])
    report = deep(configured, valkey.url, span=span)
    assert report.findings == []
    assert report.types[0].rows_of_events == 6
    assert report.types[0].rows_in_files > 6
    for file in sealed_files(configured.directory.path, "delivered"):
        file.chmod(0o640)
        rewrite(file, lambda lines: lines[:1])
    found = rows(deep(configured, valkey.url, span=span))
    assert [each[0] for each in found] == ["row missing"] * 6


def test_rows_whose_entries_are_trimmed_are_counted_and_not_judged(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(90)
    work(configured, valkey.url, 90)
    stream = KEYS.streams["delivered"]
    kept = client.xrange(stream)[13][0]
    client.xtrim(stream, minid=kept, approximate=False)
    report = deep(configured, valkey.url)
    assert report.findings == []
    assert (report.types[0].no_longer_in_the_stream, report.types[0].rows_of_events) == (13, 17)
    [*_, last] = sealed_files(configured.directory.path, "delivered")
    last.chmod(0o640)
    [*_, gone] = rewrite(last, lambda lines: lines[:-1])
    assert [each[:2] for each in rows(deep(configured, valkey.url))] == [("row missing", rcpt(gone))]


@pytest.mark.parametrize("is_all_gone", [False, True])
def test_a_byte_changed_in_a_row_whose_event_left_the_stream_is_found_and_the_file_named(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey, *, is_all_gone: bool
) -> None:
    publisher.publish_some(240)
    work(configured, valkey.url, 240)
    stream = KEYS.streams["delivered"]
    kept = client.xrange(stream)[70][0]
    client.xtrim(stream, maxlen=0 if is_all_gone else len(client.xrange(stream, min=kept)), approximate=False)
    place = configured_places(configured.directory)["delivered"]
    first, second, third, *_ = sorted(sealed(place), key=lambda stored: id_order(stored.first_id or ""))
    assert id_order(third.first_id or "") < id_order(kept.decode())
    compress(second, place, Compression.ZSTD)
    compress(third, place, Compression.GZIP)
    assert deep(configured, valkey.url).findings == []
    first.path.chmod(0o640)
    rewrite(first.path, lambda lines: [*lines[:1], lines[1].replace(b"JOB", b"JOC"), *lines[2:]])
    [finding] = deep(configured, valkey.url).findings
    assert (finding.kind, finding.file) == (Kind.FILE_ALTERED, str(first.path))


def test_rows_of_expired_files_are_not_missing_but_those_beside_them_are(
    configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(180)
    work(configured, valkey.url, 180)
    place = configured_places(configured.directory)["bounce"]
    first, second, third, *_ = sealed(place)
    assert first.manifest is not None
    url = "s3://bucket/" + first.path.name
    append(place, [type(first.manifest)(**{**_fields(first.manifest), "uploaded": Uploaded(url=url, at_ms=1)})])
    first.path.unlink()
    manifest_path(first.path).unlink()
    report = deep(configured, valkey.url)
    assert report.findings == []
    bounce = report.types[-1]
    assert (bounce.elsewhere, bounce.expired_rows, bounce.uploaded) == (first.rows, first.rows, [url])
    third.path.chmod(0o640)
    gone = rewrite(third.path, lambda lines: lines[:1] + lines[2:])[1]
    assert [each[:2] for each in rows(deep(configured, valkey.url))] == [("row missing", rcpt(gone))]
    second.path.unlink()
    manifest_path(second.path).unlink()
    assert len(rows(deep(configured, valkey.url))) == 1 + second.rows


def test_files_that_expire_one_after_the_other_while_it_reads_are_not_missed_and_what_is_beside_them_is(
    configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(300, recipients=2)
    work(configured, valkey.url, 300)
    standing = {name: list(sealed(place)) for name, place in configured_places(configured.directory).items()}
    kept = [of_type.pop(2) for of_type in standing.values()]
    assert all(len(of_type) > 6 for of_type in standing.values())
    kept[-1].path.chmod(0o640)
    gone = rewrite(kept[-1].path, lambda lines: lines[:1] + lines[2:])[1]
    expired = dict.fromkeys(TYPES, 0)

    def expire_one(_done: int, _count: int) -> None:
        for name, of_type in standing.items():
            if of_type:
                expired[name] += of_type[0].rows
                expire(of_type.pop(0), configured_places(configured.directory)[name])

    report = deep(configured, valkey.url, tell=expire_one)
    assert [each[:2] for each in rows(report)] == [("row missing", rcpt(gone))]
    assert not any(standing.values())
    assert all(each.expired_files > 1 for each in report.types)
    assert [each.elsewhere for each in report.types] == [each.expired_rows for each in report.types]
    [other] = [each for each in report.types if each.type == "delivered"]
    assert other.rows_in_files + other.expired_rows == other.rows_of_events == 200
    assert deep(configured, valkey.url).types[0].expired_rows == expired["delivered"]


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_rows_in_other_directories_are_missing_only_where_those_can_be_seen(
    configured: Settings, publisher: Publisher, valkey: RealValkey, tmp_path: Path
) -> None:
    other = changed(changed(configured, "directory", path=tmp_path / "other"), "worker", name="worker-2")
    for each in (configured, other):
        publisher.publish_some(30)
        work(each, valkey.url, 30)
    file = a_sealed_file(other)
    gone = rewrite(file, lambda lines: lines[:1] + lines[2:])[1]
    report = deep(configured, valkey.url)
    assert [each.kind for each in report.findings] == [Kind.UNSEEN]
    assert [each.elsewhere for each in report.types] == [10, 10, 10]
    mine = a_sealed_file(configured)
    was = rewrite(mine, lambda lines: [*lines[:1], lines[1].replace(b"JOB", b"JOC"), *lines[2:]])[1]
    assert rows(deep(configured, valkey.url)) == [("row altered", rcpt(was), [2], ("jobId",))]
    found = rows(deep(configured, valkey.url, other))
    assert sorted(each[:2] for each in found) == [("row altered", rcpt(was)), ("row missing", rcpt(gone))]


def test_rows_that_stand_twice_since_the_group_was_put_back_are_named(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(30)
    work(configured, valkey.url, 30)
    stream = KEYS.streams["deferred"]
    last = client.xrange(stream)[-3][0]
    client.xgroup_setid(stream, GROUP, last)
    assert rows(deep(configured, valkey.url)) == []
    client.hincrby(KEYS.ledger, "deferred:replayed", 2)
    work(configured, valkey.url, 2)
    assert [each[0] for each in rows(deep(configured, valkey.url))] == ["row doubled"] * 2


def test_dead_letters_are_not_missing_even_where_these_columns_could_show_them(
    configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    events = [make_event("bounce", number, **({"srcMta": 5} if number % 2 else {})) for number in range(6)]
    publisher.publish({"bounce": events})
    work(configured, valkey.url, 6)
    columns = {name: [each for each in configured.rows.columns[name] if each != "srcMta"] for name in TYPES}
    other = changed(configured, "rows", columns=columns)
    assert deep(configured, valkey.url).findings == []
    work(other, valkey.url, 0, stop=False)
    publisher.publish({"bounce": [make_event("bounce", 9)]})
    work(other, valkey.url, 1, stop=False)
    assert deep(other, valkey.url).findings == []


@pytest.mark.parametrize("act", ["retry", "drop"])
def test_events_of_letters_that_were_retried_or_dropped_are_missing_nowhere_though_they_can_be_read(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey, act: str
) -> None:
    publisher.publish({"bounce": [make_event("bounce", number) for number in range(3)]})
    work(configured, valkey.url, 0)
    stream = KEYS.streams["bounce"]
    [[_, [(entry_id, _)]]] = client.xreadgroup(GROUP, "worker-1", {stream: ">"})
    client.xclaim(stream, GROUP, "worker-1", 0, [entry_id], retrycount=8, justid=True)  # it killed its readers
    publisher.publish_some(30)
    work(configured, valkey.url, 30)
    assert deep(configured, valkey.url).findings == []
    with dead_letters(connector(configured.stream, valkey.url), PARTITION, change=True) as dead:
        [letter] = dead.letters(dead.last_id())
        dead.retry(letter) if act == "retry" else dead.drop(letter.id)
    assert deep(configured, valkey.url).findings == []
    work(configured, valkey.url, 3 * (act == "retry"))
    assert deep(configured, valkey.url).findings == []
    for file in sealed_files(configured.directory.path, "bounce"):
        file.chmod(0o640)
        rewrite(file, lambda lines: lines[:1])
    assert len(rows(deep(configured, valkey.url))) == 10 + 3 * (act == "retry")


@pytest.mark.parametrize("layout", [(Format.CSV, ";"), (Format.JSONL, "\t"), (Format.ORIGINAL, "\t")])
def test_a_deep_audit_reads_every_format_by_the_manifests_whatever_is_configured(
    configured: Settings, publisher: Publisher, valkey: RealValkey, layout: tuple[Format, str]
) -> None:
    written = changed(configured, "rows", format=layout[0], separator=layout[1])
    publisher.publish_some(60, recipients=2)
    publisher.publish({"bounce": [make_event("bounce", 7_000, orig='a;"b"@example.com')]})
    work(written, valkey.url, 61)
    assert deep(configured, valkey.url).findings == []
    file = a_sealed_file(configured)
    rewrite(file, lambda lines: [*lines[:3], lines[3].replace(b"JOB", b"JOC"), *lines[4:]])
    [(kind, _, lines, columns)] = rows(deep(configured, valkey.url))
    assert (kind, lines, columns) == ("row altered", [4], ("jobId",))


def test_an_entry_added_by_hand_has_its_rows_like_any_other(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(3)
    client.xadd(KEYS.streams["bounce"], {"note": b"by hand", "events": encode([make_event("bounce", 99)])})
    work(configured, valkey.url, 4)
    report = deep(configured, valkey.url)
    assert rows(report) == []
    assert report.types[-1].rows_of_events == 2


@pytest.mark.parametrize("kind", [Compression.ZSTD, Compression.GZIP])
def test_compressed_and_expired_files_are_as_good_as_any_other(
    configured: Settings, publisher: Publisher, valkey: RealValkey, kind: Compression
) -> None:
    publisher.publish_some(180)
    work(configured, valkey.url, 180)
    place = configured_places(configured.directory)["bounce"]
    first, second, third, *_ = [compress(stored, place, kind) for stored in sealed(place)]
    assert deep(configured, valkey.url).findings == []
    expire(first, place)
    assert deep(configured, valkey.url).findings == []
    content = second.content_path.read_bytes()
    second.content_path.chmod(0o640)
    second.content_path.write_bytes(content[:-9] + bytes(9))
    third.content_path.unlink()
    found = [each.kind for each in deep(configured, valkey.url).findings if not each.kind.startswith("row ")]
    assert found == [Kind.FILE_MISSING, Kind.FILE_UNREADABLE]
