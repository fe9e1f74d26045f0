"""Rotation on demand: by SIGHUP and by the command, of worker processes on a real server."""

import signal
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.server.test_command_line import run, write_ini
from tests.support.files import check_manifest, recipients_in, sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION


@pytest.mark.parametrize("archiving", ["true", "false"])
def test_files_with_rows_are_rotated_by_the_signal_and_by_the_command(
    valkey: RealValkey, tmp_path: Path, archiving: str
) -> None:
    ini, files = write_ini(tmp_path, f"archiving={archiving}\n"), tmp_path / "files"
    worker = WorkerProcess(ini, valkey.url)
    worker.start()
    publisher = Publisher(valkey.client(), PARTITION)
    publisher.publish_some(2)  # delivered and deferred
    wait_until(lambda: sum(recipients_in(files).values()) == 2, "rows")
    wait_until(lambda: '"rows":1' in str(valkey.client().hgetall("{haraka:accounting}:records")), "commits")
    result = run("rotate", "--name", "worker-1", "--config", str(ini), "--redis", valkey.url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    wait_until(lambda: len(sealed_files(files, "delivered") + sealed_files(files, "deferred")) == 2, "seals")
    sealed = [file for name in TYPES for file in sealed_files(files, name)]
    assert sorted(result.stdout.split()) == sorted(file.name for file in sealed)
    assert {check_manifest(file).reason for file in sealed} == {"command"}
    assert {file.parent.name == "archive" for file in sealed} == {archiving == "true"}
    publisher.publish_some(1)  # bounce
    wait_until(lambda: sum(recipients_in(files).values()) == 3, "rows")
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(sealed_files(files, "bounce")) == 1, "the signal to be heeded")
    assert run("rotate", "--all", "--config", str(ini), "--redis", valkey.url, cwd=tmp_path).stdout == ""
    assert worker.stop() == 0
    assert set(recipients_in(files).values()) == {1}


def test_a_worker_that_is_dead_gets_no_signal(valkey: RealValkey, tmp_path: Path) -> None:
    ini = write_ini(tmp_path)
    worker = WorkerProcess(ini, valkey.url)
    worker.start()
    worker.kill()
    (tmp_path / "files" / ".other.lock").write_text("1\n")  # alive, and no worker
    for whom in (("--name", "worker-1"), ("--all",), ("--name", "unheard-of")):
        result = run("rotate", *whom, "--config", str(ini), "--redis", valkey.url, cwd=tmp_path)
        assert result.returncode == 1
        assert "docker kill -s HUP" in result.stderr
    assert run("rotate", cwd=tmp_path).returncode == 2
