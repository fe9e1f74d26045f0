"""A server that has just started and is loading its data: commands wait for it, and so do workers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.test_command_line import write_ini
from tests.support.any_server import AnyServer
from tests.support.publisher import Publisher
from tests.support.servers import WorkerProcess, wait_until
from tests.support.workers import PARTITION

SLOW = ("--key-load-delay", 500, "--loading-process-events-interval-bytes", 1024)  # µs for each key


def is_loading(server: AnyServer) -> bool:
    with server.client() as client:
        return bool(client.info("persistence")["loading"])


def test_commands_and_workers_wait_until_a_server_has_its_data(tmp_path: Path) -> None:
    ini = write_ini(tmp_path)
    with AnyServer(tmp_path / "server") as server:
        if server.version < (7, 0):
            pytest.skip("before 7.0 nothing makes a server load slowly")
        Publisher(server.client(), PARTITION).publish_some(3)
        client = server.client()
        client.mset({f"filler:{number}": "x" for number in range(8_000)})
        client.save()
        port = server.port
    slow = AnyServer(tmp_path / "server", "--port", port, *SLOW)
    slow.port = port
    slow.start(ready=False)
    wait_until(lambda: is_loading(slow), "it is loading")
    command = [sys.executable, "-m", "worker", "status", "--config", str(ini), "--redis", slow.url]
    status = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    worker = WorkerProcess(ini, slow.url)
    worker.start(ready=False)
    check = subprocess.run([*command, "--check", "worker-1"], capture_output=True, text=True, check=False, timeout=60)
    out, err = status.communicate(timeout=90)
    assert (status.returncode, "is loading its data: waiting" in err) == (0, True), err
    assert "unread events" in out
    if "loading" in check.stderr:
        assert check.returncode == 74  # a health check does not wait
    wait_until(lambda: "worker.ready" in worker.log(), "the worker is ready")
    assert "BusyLoadingError" in worker.log()
    assert worker.stop() == 0
    slow.stop()
