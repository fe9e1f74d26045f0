"""The audit of counts: in balance whatever happened as it should, and a finding for whatever did not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_command_line import run, write_ini
from tests.support.audits import a_sealed_file, audited, kinds, work
from tests.support.events import encode, make_event
from tests.support.files import data_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, changed, settings
from worker.audit.finding import Kind
from worker.audit.report import Known
from worker.catalogue import append
from worker.identity import known_id
from worker.inventory import configured_places, sealed
from worker.manifest import manifest_path
from worker.settings import Settings
from worker.stream.dead_letters import dead_letters
from worker.stream.keys import GROUP, Keys
from worker.stream.link import connector

KEYS = Keys.of(PARTITION)


@pytest.fixture
def client(valkey: RealValkey) -> Any:
    return valkey.client()


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return changed(settings(tmp_path / "files"), "rotation", max_size_bytes=2_000)


@pytest.fixture
def publisher(client: Any) -> Publisher:
    return Publisher(client, PARTITION)


def test_what_is_written_pending_and_unread_is_in_balance(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(60, per_batch=3, recipients=2)
    work(configured, valkey.url, 180, stop=False)
    publisher.publish_some(9, per_batch=4)
    client.xreadgroup(GROUP, "another", dict.fromkeys(KEYS.streams.values(), ">"), count=2)
    report = audited(configured, valkey.url)
    assert report.findings == []
    assert [each.came["published"] for each in report.types] == [72, 72, 72]
    assert [(each.went["pending"], each.went["unread"]) for each in report.types] == [(8, 4)] * 3
    [directory] = report.directories
    assert [rows.committed for rows in directory.rows] == [120, 120, 120]
    assert all(rows.sealed and rows.open for rows in directory.rows)


def test_a_server_that_nobody_used_is_in_balance(configured: Settings, valkey: RealValkey, tmp_path: Path) -> None:
    result = run("audit", "--redis", valkey.url, cwd=tmp_path)
    assert (result.returncode, "accounted for" in result.stdout) == (0, True)
    assert "no worker has used it" in result.stderr


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines[:3] + lines[4:], Kind.FILE_SIZE),  # one row removed
        (lambda lines: [*lines, lines[-1]], Kind.FILE_SIZE),  # one row doubled
        (None, Kind.FILE_MISSING),
    ],
)
def test_a_sealed_file_that_is_not_as_it_was_is_found_without_reading_it(
    configured: Settings, publisher: Publisher, valkey: RealValkey, change: Any, expected: Kind
) -> None:
    publisher.publish_some(60)
    work(configured, valkey.url, 60)
    file = a_sealed_file(configured)
    assert audited(configured, valkey.url).balanced
    if change:
        file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    else:
        file.unlink()
    [finding] = audited(configured, valkey.url).findings
    assert (finding.kind, finding.file) == (expected, str(file))


def test_a_file_that_is_gone_with_its_manifest_is_missing_in_the_counts(
    configured: Settings, publisher: Publisher, valkey: RealValkey, tmp_path: Path
) -> None:
    publisher.publish_some(60)
    work(configured, valkey.url, 60)
    file = a_sealed_file(configured)
    rows = len(file.read_bytes().splitlines()) - 1
    file.unlink()
    manifest_path(file).unlink()
    [finding] = audited(configured, valkey.url).findings
    assert (finding.kind, finding.count) == (Kind.ROWS, rows)
    result = run("audit", "--json", "--redis", valkey.url, "--config", str(write_ini(tmp_path)), cwd=tmp_path)
    assert result.returncode == 1
    assert [each["count"] for each in json.loads(result.stdout)["findings"]] == [rows]


@pytest.mark.parametrize("is_gone", [False, True])
def test_an_open_file_that_is_gone_or_shorter_than_committed_is_found(
    configured: Settings, publisher: Publisher, valkey: RealValkey, *, is_gone: bool
) -> None:
    publisher.publish_some(30)
    work(configured, valkey.url, 30, stop=False)
    [file, *_] = [file for file in data_files(configured.directory.path, "bounce") if file.parent.name == "bounce"]
    content = file.read_bytes()
    file.unlink() if is_gone else file.write_bytes(content[:-1])
    [finding] = audited(configured, valkey.url).findings
    assert (finding.kind, finding.file) == (Kind.FILE_MISSING if is_gone else Kind.FILE_SIZE, str(file))
    file.write_bytes(content + b"a row that is not committed yet\n")
    assert audited(configured, valkey.url).balanced


def test_entries_that_were_trimmed_before_they_were_read_are_found(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(30, per_batch=2)
    work(configured, valkey.url, 60)
    publisher.publish_some(9, per_batch=2)
    assert audited(configured, valkey.url).balanced
    stream = KEYS.streams["delivered"]
    [_, (second, _), _] = client.xrevrange(stream, count=3)[::-1]
    client.xtrim(stream, minid=second, approximate=False)
    [finding] = audited(configured, valkey.url).findings
    assert (finding.kind, finding.type, finding.count) == (Kind.EVENTS, "delivered", 2)


@pytest.mark.parametrize("is_pending", [False, True])
def test_an_entry_that_was_deleted_in_the_middle_is_found(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey, *, is_pending: bool
) -> None:
    publisher.publish_some(30, per_batch=2)
    work(configured, valkey.url, 60)
    publisher.publish_some(15, per_batch=3)
    if is_pending:
        client.xreadgroup(GROUP, "another", dict.fromkeys(KEYS.streams.values(), ">"))
    stream = KEYS.streams["deferred"]
    entry_id = client.xrevrange(stream, count=3)[-1][0]
    client.xdel(stream, entry_id)
    [finding] = audited(configured, valkey.url).findings
    assert (finding.kind, finding.type, finding.count) == (Kind.EVENTS, "deferred", 3)
    assert not is_pending or entry_id.decode() in finding.text


def test_the_balance_holds_where_the_last_delivered_entry_was_trimmed(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(30, per_batch=2)
    work(configured, valkey.url, 60)
    for stream in KEYS.streams.values():
        client.xtrim(stream, maxlen=0, approximate=False)
    assert audited(configured, valkey.url).balanced
    publisher.publish_some(9, per_batch=2)
    assert audited(configured, valkey.url).balanced
    work(configured, valkey.url, 18)
    assert audited(configured, valkey.url).balanced


def test_entries_that_were_added_by_hand_do_not_hide_what_is_unread_or_pending(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    stream = KEYS.streams["bounce"]

    def add(count: int) -> None:
        for number in range(count):
            client.xadd(stream, {"events": encode([make_event("bounce", 9_000 + number)])})

    publisher.publish_some(3, per_batch=2)
    work(configured, valkey.url, 6)
    add(600)
    publisher.publish({"bounce": [make_event("bounce", 1), make_event("bounce", 2)]})
    add(600)
    report = audited(configured, valkey.url)
    assert (report.findings, report.types[-1].went["unread"]) == ([], 2)
    client.xreadgroup(GROUP, "another", {stream: ">"}, count=603)
    report = audited(configured, valkey.url)
    assert (report.findings, report.types[-1].went["pending"], report.types[-1].went["unread"]) == ([], 2, 0)
    client.xack(stream, GROUP, *(entry["message_id"] for entry in client.xpending_range(stream, GROUP, "-", "+", 700)))
    client.xgroup_setid(stream, GROUP, client.xrange(stream)[0][0])
    work(configured, valkey.url, 1_202)
    report = audited(configured, valkey.url)
    assert (report.findings, report.types[-1].came["foreign"]) == ([], 1_200)


def test_dead_letters_balance_while_they_stand_are_retried_and_dropped(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    events = [make_event("bounce", number, **({"srcMta": 5} if number % 2 else {})) for number in range(6)]
    publisher.publish({"bounce": events})
    work(configured, valkey.url, 6)
    report = audited(configured, valkey.url)
    assert (report.findings, report.types[-1].went["dead letters"]) == ([], 3)
    with dead_letters(connector(configured.stream, valkey.url), PARTITION, change=True) as dead:
        first, second, third = dead.letters(dead.last_id())
        dead.retry(first)
        assert audited(configured, valkey.url).balanced
        dead.drop(second.id)
        assert audited(configured, valkey.url).balanced
    work(configured, valkey.url, 1)
    assert audited(configured, valkey.url).balanced
    client.xdel(KEYS.dead, third.id)
    assert kinds(audited(configured, valkey.url)) == [Kind.EVENTS, Kind.LETTERS]


def test_what_is_lost_is_a_finding_until_it_is_known(
    client: Any, configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    client.hset(KEYS.ledger, mapping={"bounce:lost": 2, "bounce:published": 2, "bounce:gap": 1})
    publisher.publish_some(3)
    work(configured, valkey.url, 3)
    assert kinds(audited(configured, valkey.url)) == [Kind.LOST]
    assert kinds(audited(configured, valkey.url, known=Known(lost=2))) == [Kind.LOST]
    assert audited(configured, valkey.url, known=Known(lost=3)).balanced


def test_other_directories_are_judged_only_where_they_can_be_seen(
    configured: Settings, publisher: Publisher, valkey: RealValkey, tmp_path: Path
) -> None:
    other = changed(changed(configured, "directory", path=tmp_path / "other"), "worker", name="worker-2")
    for each in (configured, other):
        publisher.publish_some(30)
        work(each, valkey.url, 30)
    file = a_sealed_file(other)
    file.unlink()
    report = audited(configured, valkey.url)
    [finding] = report.findings
    assert (finding.kind, finding.directory) == (Kind.UNSEEN, known_id(other.directory.path))
    assert str(other.directory.path) in finding.text
    [(directory_id, rows)] = report.elsewhere.items()
    assert sum(rows.values()) == 30
    assert audited(configured, valkey.url, known=Known(elsewhere=frozenset([directory_id]))).balanced
    report = audited(configured, valkey.url, other)
    assert (kinds(report), report.elsewhere) == ([Kind.FILE_MISSING], {})
    result = run(
        "audit", "--redis", valkey.url, "--directory", "other", "--config", str(write_ini(tmp_path)), cwd=tmp_path
    )
    assert (result.returncode, str(file) in result.stdout) == (1, True)


def test_files_that_expired_or_belong_to_another_directory_do_not_disturb_the_balance(
    configured: Settings, publisher: Publisher, valkey: RealValkey
) -> None:
    publisher.publish_some(90)
    work(configured, valkey.url, 90)
    place = configured_places(configured.directory)["bounce"]
    first, second, *_ = sealed(place)
    assert first.manifest is not None
    append(place, [first.manifest])
    assert audited(configured, valkey.url).balanced  # it is noted before it goes
    first.path.unlink()
    assert audited(configured, valkey.url).balanced
    manifest_path(first.path).unlink()
    foreign = manifest_path(second.path).read_text().replace(second.manifest.directory, "another")  # type: ignore[union-attr]
    (place.archive / "b.1999-01-01-000000.tsv.json").write_text(
        foreign.replace(second.path.name, "b.1999-01-01-000000.tsv")
    )
    report = audited(configured, valkey.url)
    [directory] = report.directories
    assert (report.findings, directory.others) == ([], 1)
    assert directory.rows[-1].expired == first.rows
    manifest_path(second.path).chmod(0o640)
    manifest_path(second.path).write_text("no manifest")
    assert kinds(audited(configured, valkey.url)) == [Kind.ROWS, Kind.MANIFEST]


def test_what_could_not_be_looked_at_is_no_finding(valkey: RealValkey, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "files", ignore_errors=True)
    result = run("audit", "--redis", "redis://127.0.0.1:1/0", cwd=tmp_path)
    assert (result.returncode, "not audited" in result.stderr) == (74, True)
