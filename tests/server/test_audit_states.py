"""The audit has no blind state: rows missing, doubled or in doubt are a finding, until a person accepts it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.server.test_command_line import run, write_ini
from tests.support.audits import a_sealed_file, audited, kinds, work
from tests.support.files import data_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey
from tests.support.workers import PARTITION, HandClock, changed, make_worker, settings
from worker import identity, salvage
from worker.audit.finding import Kind
from worker.identity import known_id
from worker.manifest import manifest_path
from worker.stream.keys import GROUP, Keys

KEYS = Keys.of(PARTITION)
FOREIGN_ID = "0123456789abcdef"


class Scene:
    """75 rows in sealed and open files of a worker that was killed, nine events that wait, and their server."""

    def __init__(self, path: Path, valkey: RealValkey) -> None:
        self.valkey = valkey
        self.client: Any = valkey.client()
        self.configured = changed(settings(path), "rotation", max_size_bytes=2_000)
        self.path = path
        self.publisher = Publisher(self.client, PARTITION)
        self.publisher.publish_some(75)
        work(self.configured, valkey.url, 75, stop=False)
        self.publisher.publish_some(9)

    @property
    def id(self) -> str:
        found = known_id(self.path)
        assert found
        return found

    @property
    def record(self) -> str:
        return f"worker-1 {self.id}"

    def kinds(self) -> set[Kind]:
        return set(kinds(audited(self.configured, self.valkey.url)))

    def open_file(self) -> Path:
        return next(file for file in data_files(self.path, "bounce") if not manifest_path(file).exists())


@pytest.fixture
def scene(tmp_path: Path, valkey: RealValkey) -> Scene:
    made = Scene(tmp_path / "files", valkey)
    assert made.kinds() == set()
    return made


def empty_the_server(scene: Scene) -> None:
    scene.client.flushall()


def delete(key: str) -> Callable[[Scene], None]:
    return lambda scene: scene.client.delete(getattr(KEYS, key))


def forget_the_record(scene: Scene) -> None:
    scene.client.hdel(KEYS.records, scene.record)


def restore_an_older_state(scene: Scene) -> None:
    record, ledger = scene.client.hget(KEYS.records, scene.record), scene.client.hgetall(KEYS.ledger)
    work(scene.configured, scene.valkey.url, 9, stop=False)
    scene.client.hset(KEYS.records, scene.record, record)
    scene.client.delete(KEYS.ledger)
    scene.client.hset(KEYS.ledger, mapping=ledger)


def count_rows_away(scene: Scene) -> None:
    for name in (f"bounce:rows:{scene.id}", "bounce:rows"):
        scene.client.hincrby(KEYS.ledger, name, -1)


def write_no_count(scene: Scene) -> None:
    scene.client.hset(KEYS.ledger, "bounce:rows", "x")


def write_no_record(scene: Scene) -> None:
    scene.client.hset(KEYS.records, f"worker-2 {scene.id}", "\x1b[31m{")


def work_in_another_directory(scene: Scene) -> None:
    path = scene.path.with_name("other")
    work(changed(changed(scene.configured, "directory", path=path), "worker", name="w2"), scene.valkey.url, 9)


def lose_the_directory(scene: Scene) -> None:
    work_in_another_directory(scene)
    shutil.rmtree(scene.path)
    scene.path.with_name("other").rename(scene.path)


def start_a_copy(scene: Scene) -> None:
    copy = scene.path.with_name("copy")
    shutil.copytree(scene.path, copy)
    scene.client.delete(KEYS.lease("worker-1"))
    worker = make_worker(changed(scene.configured, "directory", path=copy), None, HandClock(), url=scene.valkey.url)
    worker.recover()
    worker.release()


def lose_a_volume(scene: Scene) -> None:
    found = identity.read(scene.path)
    assert found
    identity.write(scene.path, msgspec.structs.replace(found, mounts=("bounce/elsewhere",)))
    (scene.path / "bounce" / "elsewhere").mkdir()


def delete_unread(scene: Scene) -> None:
    scene.client.xdel(KEYS.streams["bounce"], scene.client.xrevrange(KEYS.streams["bounce"], count=1)[0][0])


def delete_pending(scene: Scene) -> None:
    [(_, entries)] = scene.client.xreadgroup(GROUP, "another", {KEYS.streams["bounce"]: ">"}, count=1)
    scene.client.xdel(KEYS.streams["bounce"], entries[0][0])


def trim_unread(scene: Scene) -> None:
    scene.client.xtrim(KEYS.streams["bounce"], maxlen=1, approximate=False)


def copy_and_delete(scene: Scene) -> None:
    """Move entries by hand: as many are copied as are deleted."""
    stream = KEYS.streams["bounce"]
    [*_, old] = scene.client.xrange(stream, count=3)
    scene.client.xdel(stream, scene.client.xrevrange(stream, count=2)[1][0])
    scene.client.xadd(stream, old[1])
    work(scene.configured, scene.valkey.url, 9, stop=False)


def drop_a_letter(scene: Scene) -> None:
    scene.client.xadd(KEYS.streams["bounce"], {"events": "x"})
    work(scene.configured, scene.valkey.url, 9, stop=False)
    scene.client.delete(KEYS.dead)


def remove_a_sealed_file(scene: Scene) -> None:
    work(scene.configured, scene.valkey.url, 9)
    file = a_sealed_file(scene.configured)
    manifest_path(file).unlink()
    file.unlink()


def remove_an_open_file(scene: Scene) -> None:
    scene.open_file().unlink()


def cut_an_open_file(scene: Scene) -> None:
    file = scene.open_file()
    file.write_bytes(file.read_bytes()[:-1])


def copy_truncate(scene: Scene) -> None:
    """Do what logrotate does with `copytruncate`; then a worker comes."""
    scene.open_file().write_bytes(b"")
    work(scene.configured, scene.valkey.url, 9, stop=False)


def add_a_sealed_file(scene: Scene) -> None:
    file = a_sealed_file(scene.configured)
    name = "b.1999-01-01-000000.tsv"
    manifest = manifest_path(file).read_bytes().replace(file.name.encode(), name.encode())
    shutil.copy(file, file.with_name(name))
    manifest_path(file.with_name(name)).write_bytes(manifest)


def break_a_manifest(scene: Scene) -> None:
    path = manifest_path(a_sealed_file(scene.configured))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:20])


def lose_the_identity(scene: Scene) -> None:
    for name in (identity.NAME, ".directory-id"):
        (scene.path / name).unlink()


def keep_a_tail_in_doubt(scene: Scene) -> None:
    (scene.path / "recovered").mkdir()
    tail = scene.path / "recovered" / "d.1.tail"
    tail.write_bytes(b"rows\n")
    note = salvage.TailNote(file="delivered/d.1", offset=1, bytes=5, sha256="0", in_doubt=True, why="it is in doubt")
    tail.with_name("d.1.tail.json").write_bytes(msgspec.json.encode(note))


def come_too_late(scene: Scene) -> None:
    scene.client.hset(KEYS.watch, f"late:7 worker-1 {scene.id}", "1795373300000")


DAMAGES: dict[Callable[[Scene], None], set[Kind]] = {
    empty_the_server: {Kind.FORGOTTEN},
    delete("ledger"): {Kind.FORGOTTEN, Kind.EVENTS, Kind.ORDER},
    delete("records"): {Kind.FORGOTTEN},
    forget_the_record: {Kind.FORGOTTEN},
    restore_an_older_state: {Kind.FORGOTTEN},
    count_rows_away: {Kind.FORGOTTEN},
    write_no_count: {Kind.UNREADABLE},
    write_no_record: {Kind.UNREADABLE},
    work_in_another_directory: {Kind.UNSEEN},
    lose_the_directory: {Kind.UNSEEN},
    start_a_copy: {Kind.SUPERSEDED},
    lose_a_volume: {Kind.MOUNT},
    delete_unread: {Kind.EVENTS},
    delete_pending: {Kind.EVENTS},
    trim_unread: {Kind.EVENTS},
    copy_and_delete: {Kind.ORDER},
    drop_a_letter: {Kind.LETTERS},
    remove_a_sealed_file: {Kind.ROWS},
    remove_an_open_file: {Kind.FILE_MISSING},
    cut_an_open_file: {Kind.FILE_SIZE},
    copy_truncate: {Kind.ASIDE, Kind.ROWS},
    add_a_sealed_file: {Kind.ROWS},
    break_a_manifest: {Kind.MANIFEST},
    keep_a_tail_in_doubt: {Kind.DOUBT},
    come_too_late: {Kind.LATE},
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_found(scene: Scene, damage: Callable[[Scene], None]) -> None:
    damage(scene)
    assert scene.kinds() >= DAMAGES[damage]


@pytest.mark.parametrize(
    "damage",
    [empty_the_server, work_in_another_directory, delete_unread, drop_a_letter, remove_a_sealed_file, cut_an_open_file,
     copy_truncate, keep_a_tail_in_doubt, come_too_late],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_what_a_person_accepted_is_no_finding_and_what_happens_then_is(
    scene: Scene, damage: Callable[[Scene], None], tmp_path: Path
) -> None:
    damage(scene)
    ini = str(write_ini(tmp_path))

    def audit_command(*arguments: str) -> Any:
        return run("audit", "--redis", scene.valkey.url, "--config", ini, "--json", *arguments, cwd=tmp_path)

    found = audit_command()
    assert found.returncode == 1
    assert audit_command("--accept", "told to billing").returncode == 0
    again = audit_command()
    told = json.loads(again.stdout)
    assert (again.returncode, told["findings"], told["balanced"]) == (0, [], True)
    assert [each["finding"] for each in told["accepted"]] == json.loads(found.stdout)["findings"]
    assert {each["reason"] for each in told["accepted"]} == {"told to billing"}
    scene.client.hset(KEYS.watch, "late:8 w2 0123", "1")
    assert [each["kind"] for each in json.loads(audit_command().stdout)["findings"]] == ["late"]


def test_the_same_loss_once_more_is_another_finding(scene: Scene, tmp_path: Path) -> None:
    ini = str(write_ini(tmp_path))
    command = ["audit", "--redis", scene.valkey.url, "--config", ini]
    file = scene.open_file()
    for _ in range(2):
        file.write_bytes(file.read_bytes()[:-1])
        assert run(*command, cwd=tmp_path).returncode == 1
        assert run(*command, "--accept", "known", cwd=tmp_path).returncode == 0
        shown = run(*command, cwd=tmp_path)
        assert (shown.returncode, "(known): file size: " in shown.stdout) == (0, True)
        assert "Everything is accounted for." in shown.stdout


def test_an_acceptance_goes_with_a_directory_that_is_moved(scene: Scene, tmp_path: Path) -> None:
    keep_a_tail_in_doubt(scene)
    moved = tmp_path / "elsewhere"
    ini = write_ini(tmp_path)
    command = ["audit", "--redis", scene.valkey.url, "--config", str(ini)]
    assert run(*command, "--accept", "!", cwd=tmp_path).returncode == 0
    scene.path.rename(moved)
    ini.write_text(ini.read_text().replace(str(scene.path), str(moved)).replace("path=files", f"path={moved}"))
    result = run(*command, cwd=tmp_path)
    assert (result.returncode, "in doubt" in result.stdout) == (0, True)


def test_what_is_no_acceptance_is_not_audited(scene: Scene, tmp_path: Path) -> None:
    (scene.path / "accepted").mkdir()
    (scene.path / "accepted" / "1.json").write_text('{"findings": 5}')
    result = run("audit", "--redis", scene.valkey.url, "--config", str(write_ini(tmp_path)), cwd=tmp_path)
    assert (result.returncode, "accepted/1.json" in result.stderr) == (74, True)


def test_files_of_a_directory_that_lost_its_identity_are_a_finding(scene: Scene, tmp_path: Path) -> None:
    for name in (identity.NAME, ".directory-id"):
        (scene.path / name).unlink()
    result = run("audit", "--redis", scene.valkey.url, "--config", str(write_ini(tmp_path)), "--json", cwd=tmp_path)
    assert result.returncode == 1
    assert {each["kind"] for each in json.loads(result.stdout)["findings"]} == {"identity", "unseen"}


def test_a_directory_that_is_audited_elsewhere_is_named_and_no_other_one(scene: Scene, tmp_path: Path) -> None:
    work_in_another_directory(scene)
    other = known_id(scene.path.with_name("other")) or ""
    command = ["audit", "--redis", scene.valkey.url, "--config", str(write_ini(tmp_path))]
    assert run(*command, cwd=tmp_path).returncode == 1
    assert run(*command, "--elsewhere", FOREIGN_ID, cwd=tmp_path).returncode == 1
    assert run(*command, "--elsewhere", FOREIGN_ID, "--elsewhere", other, cwd=tmp_path).returncode == 0
    assert run(*command, "--directory", "other", cwd=tmp_path).returncode == 0


def test_a_worker_puts_back_what_the_server_forgot_and_the_audit_is_content(scene: Scene) -> None:
    empty_the_server(scene)
    work(scene.configured, scene.valkey.url, 0)
    assert scene.kinds() == set()


@pytest.mark.parametrize("command", ["audit", "status"])
def test_ids_that_are_ahead_of_the_servers_clock_are_told(scene: Scene, tmp_path: Path, command: str) -> None:
    seconds, _ = scene.client.time()
    scene.client.xadd(KEYS.streams["bounce"], {"events": "[]"}, id=f"{(seconds + 40 * 86_400) * 1000}-0")
    result = run(command, "--redis", scene.valkey.url, "--config", str(write_ini(tmp_path)), cwd=tmp_path)
    assert "40.0 days ahead of the server's clock" in " ".join((result.stdout + result.stderr).split())
