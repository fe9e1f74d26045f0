"""The command `haraka-accounting` as processes, with the bundled server and with a given one."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from haraka.demo.waiting import free_port
from schemas.events import TYPES
from tests.support.files import data_files, recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION, SHORT_TIMES_INI
from worker.errors import ExitCode, ServerNotStarted
from worker.server import BundledServer
from worker.settings import ServerSettings


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments], cwd=cwd, env={**os.environ, **environ},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def write_ini(tmp_path: Path, text: str = "") -> Path:
    ini = tmp_path / "accounting_files.ini"
    ini.write_text(f"path={tmp_path}/files\n{text}")
    return ini


def test_a_worker_started_stopped_and_started_again_has_written_each_row_once(
    valkey: RealValkey, tmp_path: Path
) -> None:
    worker = WorkerProcess(write_ini(tmp_path, "archiving=true\n"), valkey.url)
    publisher = Publisher(valkey.client(), PARTITION)
    for number in (signal.SIGTERM, signal.SIGINT):
        publisher.publish_some(30, per_batch=2)
        worker.start()
        wait_until(lambda: sum(recipients_in(tmp_path / "files").values()) >= sum(publisher.counts().values()), "rows")
        assert worker.stop(number) == 0
    assert set(recipients_in(tmp_path / "files").values()) == {1}
    assert all(file.parent.name == "archive" for name in TYPES for file in data_files(tmp_path / "files", name))


def test_status_tells_what_is_unread_pending_committed_and_open(valkey: RealValkey, tmp_path: Path) -> None:
    ini = write_ini(tmp_path)
    client = valkey.client()
    publisher = Publisher(client, PARTITION)
    worker = WorkerProcess(ini, valkey.url)
    worker.start()
    publisher.publish_some(3, per_batch=5)
    wait_until(lambda: sum(recipients_in(tmp_path / "files").values()) == 15, "rows")
    assert worker.stop() == 0
    publisher.publish_some(6, per_batch=4)
    client.xreadgroup("accounting", "someone", {"{haraka:accounting}:bounce": ">"}, count=1)
    result = run("status", "--json", "--redis", valkey.url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    status: dict[str, Any] = json.loads(result.stdout)
    assert status["types"]["delivered"]["unread"] == {"entries": 2, "events": 8}
    assert status["types"]["bounce"]["unread"] == {"entries": 1, "events": 4}
    assert status["types"]["bounce"]["pending"] == {"entries": 1, "events": 4}
    assert status["types"]["delivered"]["ledger"]["rows"] == 5
    assert status["types"]["delivered"]["ledger"]["published"] == 13
    [consumer] = status["consumers"]
    assert (consumer["name"], consumer["alive"]) == ("worker-1", False)
    assert consumer["committed_ms"] > 1_700_000_000_000
    shown = run("status", "--redis", valkey.url, cwd=tmp_path)
    assert "unread events" in shown.stdout
    assert "worker-1" in shown.stdout


def test_the_old_plugins_sample_with_every_setting_uncommented_starts_and_does_what_its_comments_say(
    valkey: RealValkey, tmp_path: Path
) -> None:
    sample = (Path(__file__).parents[1] / "unit" / "config" / "old_plugin_sample.ini").read_text()
    uncommented = re.sub(r"(?m)^;(?=\[|[a-z_]+ *=)", "", sample)
    ini = tmp_path / "accounting_files.ini"
    ini.write_text(uncommented.replace("/YOUR_HARAKA_INSTALLATION", str(tmp_path)))
    worker = WorkerProcess(ini, valkey.url)
    Publisher(valkey.client(), PARTITION).publish_some(3)
    worker.start()
    path = tmp_path / "accounting_files"
    for directory in ("delivered", "deferred", "bounces"):
        wait_until(lambda at=path / directory: "@" in next(at.glob("*.csv")).read_text(), f"a row in {directory}")  # type: ignore[misc]
    assert worker.stop() == 0
    [bounces] = (path / "bounces" / "archive").glob("b.*.csv")
    header, row = bounces.read_text().splitlines()
    assert header == "type;timeLogged;timeQueued;rcpt;srcMta;srcIp;destIp;jobId;dsnStatus;dsnMsg;bounceCat"
    assert row.split(";")[0] == "b"
    assert len(row.split(";")) == len(header.split(";"))


def test_without_a_url_a_bundled_server_is_started_named_and_stopped(tmp_path: Path) -> None:
    port = free_port()
    worker = WorkerProcess(write_ini(tmp_path, f"[server]\nport={port}\ndirectory={tmp_path}/valkey\n"), None)
    worker.start()
    assert f"server.ready url=redis://127.0.0.1:{port}/0 password_file={tmp_path}/valkey/password" in worker.log()
    assert worker.stop() == 0
    server = BundledServer(ServerSettings(directory=tmp_path / "valkey", port=port))
    server.start()  # the lock is free again, so the child is gone
    assert server.is_mine
    server.stop()


@pytest.mark.parametrize("name", ["with space", 'quo"te', "back\\slash", "#hash", "ümlaut"])
def test_the_bundled_server_runs_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    server = BundledServer(ServerSettings(directory=tmp_path / name, port=free_port()))
    server.start()
    client = redis.Redis.from_url(server.url)
    assert client.config_get("dir")["dir"] == str(tmp_path / name)
    client.close()
    server.stop()


def test_a_bundled_server_that_cannot_use_its_directory_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = BundledServer(ServerSettings(directory=tmp_path / "file" / "below", port=free_port()))
    with pytest.raises(ServerNotStarted, match=r"file.*: Not a directory"):
        server.start()


def test_trap_27_a_second_worker_attaches_to_the_running_server_of_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "valkey"
    first = BundledServer(ServerSettings(directory=directory, port=free_port()))
    first.start()
    second = BundledServer(ServerSettings(directory=directory, port=free_port()))
    second.start()
    assert (second.url_for_haraka, second.is_mine) == (first.url_for_haraka, False)
    second.stop()
    client = redis.Redis.from_url(first.url)
    assert client.ping()
    client.close()
    first.stop()


def test_a_port_that_another_program_has_is_named(tmp_path: Path, valkey: RealValkey) -> None:
    server = BundledServer(ServerSettings(directory=tmp_path / "other", port=valkey.settings.port))
    with pytest.raises(ServerNotStarted, match=f"port {valkey.settings.port} is taken"):
        server.start()


def test_a_second_process_of_a_name_ends_with_its_own_exit_code_and_names_the_first(
    valkey: RealValkey, tmp_path: Path
) -> None:
    ini = write_ini(tmp_path)
    worker = WorkerProcess(ini, valkey.url)
    worker.start()
    result = run("work", "--config", str(ini), "--redis", valkey.url, "--name", "worker-1", cwd=tmp_path)
    assert result.returncode == ExitCode.LOCKED
    assert f"in process {worker.process.pid}" in result.stderr
    assert worker.stop() == 0


def test_configuration_problems_are_all_told_at_once_with_file_and_line(tmp_path: Path) -> None:
    ini = tmp_path / "bad.ini"
    ini.write_text("pth=/x\narchive_interval=-1\n[fields]\nbounce=type,bouncecat\n")
    checked = run("config", "check", str(ini), cwd=tmp_path)
    assert checked.returncode == ExitCode.CONFIGURATION
    for line, text in ((1, "path"), (2, "archive_interval"), (4, "bounceCat")):
        assert any(f"{ini}:{line}" in each and text in each for each in checked.stdout.splitlines()), checked.stdout
    started = run("work", cwd=tmp_path, ACCOUNTING_CONFIG=str(ini))
    assert started.returncode == ExitCode.CONFIGURATION
    assert "bounceCat" in started.stderr


def test_a_health_check_tells_whether_a_consumer_works_and_a_stopped_one_can_be_retired(
    valkey: RealValkey, tmp_path: Path
) -> None:
    worker = WorkerProcess(write_ini(tmp_path), valkey.url)
    worker.start()

    def check(*arguments: str, **environ: str) -> int:
        return run(*arguments, "--redis", valkey.url, cwd=tmp_path, **environ).returncode

    assert check("status", "--check", "worker-1") == 0
    assert check("status", "--check", "worker-2") == 1
    assert check("status", "--check") == 1  # nobody works by the host's name
    assert check("status", "--check", ACCOUNTING_NAME="worker-1") == 0
    assert check("retire", "worker-1") == 1
    assert worker.stop() == 0
    assert check("status", "--check", "worker-1") == 1
    retired = run("retire", "worker-1", "--redis", valkey.url, cwd=tmp_path)
    assert (retired.returncode, retired.stdout) == (0, "worker-1: retired\n")


def test_a_worker_that_cannot_write_is_not_healthy_until_it_can(valkey: RealValkey, tmp_path: Path) -> None:
    ini = write_ini(tmp_path, f"[redis]\n{SHORT_TIMES_INI}")
    worker = WorkerProcess(ini, valkey.url)
    worker.start()

    def is_healthy() -> bool:
        return run("status", "--check", "worker-1", "--redis", valkey.url, cwd=tmp_path).returncode == 0

    assert is_healthy()
    identity = tmp_path / "files" / "accounting.id"
    identity.rename(tmp_path / "aside")  # as if its volume were not mounted
    wait_until(lambda: not is_healthy(), "its lease to run out")
    assert worker.is_alive()
    (tmp_path / "aside").rename(identity)
    wait_until(is_healthy, "its recovery")
    assert worker.stop() == 0


def test_a_good_configuration_is_called_ok(tmp_path: Path) -> None:
    checked = run("config", "check", str(write_ini(tmp_path)), cwd=tmp_path)
    assert (checked.returncode, checked.stdout.splitlines()[-1].endswith("ok")) == (0, True)


def test_options_come_from_the_environment(valkey: RealValkey, tmp_path: Path) -> None:
    ini = write_ini(tmp_path, "[worker]\nname=of-the-ini\n")
    environ = {"ACCOUNTING_CONFIG": str(ini), "ACCOUNTING_REDIS_URL": valkey.url, "ACCOUNTING_NAME": "of-the-env"}
    process = subprocess.Popen([sys.executable, "-m", "worker", "work"], env={**os.environ, **environ})
    try:
        wait_until((tmp_path / "files" / ".of-the-env.lock").exists, "the lock of the consumer")
    finally:
        process.kill()
        process.wait()


def test_help_names_every_command() -> None:
    result = run("--help", cwd=Path.cwd())
    assert all(command in result.stdout for command in ("work", "status", "config"))
