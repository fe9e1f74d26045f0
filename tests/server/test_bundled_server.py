"""The bundled server against other users of its machine: what they can read, listen on, or hold, gives them nothing."""

import fcntl
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from haraka.demo.waiting import free_port
from tests.server.test_command_line import write_ini
from tests.server.test_held_locks import _held
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker import server as server_module
from worker.errors import ServerNotStarted
from worker.server import BundledServer, binary
from worker.settings import ServerSettings


def _server(directory: Path) -> BundledServer:
    return BundledServer(ServerSettings(directory=directory, port=free_port()))


def _client(server: BundledServer, **options: Any) -> Any:
    return redis.Redis.from_url(server.url_for_haraka, socket_timeout=30, **options)


def _early_version(directory: Path, port: int) -> None:
    """Leave what an early version's server leaves: open to everybody, without a password, with one key."""
    directory.mkdir()
    directory.chmod(0o755)
    (directory / ".server.lock").touch(0o644)
    configuration = directory / "valkey.conf"
    configuration.write_text(f'port {port}\ndir "{directory}"\nappendonly yes\nlogfile "{directory}/valkey.log"\n')
    with subprocess.Popen([binary(), configuration]) as process:
        client = redis.Redis(port=port)
        wait_until(lambda: _is_there(client), "the server")
        client.set("kept", "since then")
        client.close()
        process.terminate()


def _is_there(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_reads_what_the_bundled_server_writes(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        server = _server(tmp_path / "valkey")
        server.start()
    finally:
        os.umask(before)
    with redis.Redis.from_url(server.url) as client:
        client.set("some", "address")
    server.stop()
    everything = {each: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "valkey").rglob("*")}
    assert stat.S_IMODE((tmp_path / "valkey").stat().st_mode) == 0o700
    assert {mode for each, mode in everything.items() if each.is_file()} == {0o600}, everything
    assert not any(mode & 0o077 for mode in everything.values()), everything


def test_by_the_port_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    server = _server(tmp_path / "valkey")
    server.start()
    for options in ({}, {"password": "x"}):
        with _client(server, **options) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
    password = server.password_file.read_text().strip()
    assert len(password) >= 32
    with _client(server, password=password) as client:
        assert client.ping()
    assert password not in server.url_for_haraka
    server.stop()
    server.start()
    assert server.password_file.read_text().strip() == password
    server.stop()


def test_a_directory_of_an_earlier_version_is_closed_and_keeps_its_data(tmp_path: Path) -> None:
    directory = tmp_path / "valkey"
    _early_version(directory, free_port())
    server = _server(directory)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"since then"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / ".server.lock").stat().st_mode) == 0o600
    with _client(server) as client, pytest.raises(redis.AuthenticationError):
        client.get("kept")
    server.stop()


def test_who_holds_the_lock_and_the_port_is_not_taken_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_START_SECONDS", 2.0)
    directory = tmp_path / "valkey"
    directory.mkdir(0o755)
    server = _server(directory)
    with socket.create_server(("127.0.0.1", server._port)) as listening, _held(directory / ".server.lock") as other:
        listening.setblocking(False)
        expected = rf"\.server\.lock is held by process {other.pid} \(python.*nobody answers at .*valkey\.sock"
        with pytest.raises(ServerNotStarted, match=expected):
            server.start()
        with pytest.raises(BlockingIOError):  # nothing was told it: no connection, no password
            listening.accept()


def test_a_worker_comes_by_the_socket_and_tells_who_listens_on_the_port_nothing(tmp_path: Path) -> None:
    port = free_port()
    directory = tmp_path / "valkey"
    ini = write_ini(tmp_path, f"[server]\nport={port}\ndirectory={directory}\n")
    first = WorkerProcess(ini, None)
    first.start()
    url = BundledServer(ServerSettings(directory=directory, port=port)).url
    with redis.Redis.from_url(url, protocol=2) as client:
        Publisher(client, PARTITION).publish_some(3)
        wait_until(lambda: sum(recipients_in(tmp_path / "files").values()) == 3, "rows")
        assert not any(each["addr"].startswith("127.0.0.1") for each in client.client_list())
    assert first.stop() == 0
    with socket.create_server(("127.0.0.1", port)):
        first.start(ready=False)
        assert first.process.wait(60) == 1
    assert f"port {port} is taken by another program" in first.log()


def test_a_directory_that_others_use_too_is_left_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "notes.txt").touch()
    with pytest.raises(ServerNotStarted, match=r"others can enter it, and notes\.txt is there"):
        _server(directory).start()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, 12345, 12345)
    else:
        directory = Path("/")
    with pytest.raises(ServerNotStarted, match="belongs to user"):
        _server(directory).start()


@pytest.mark.parametrize(
    "name", ["with space", 'quo"te', "#hash", "ümlaut", "back\\slash", "'x'", "$HOME %41", "l" * 200]
)
def test_the_ini_takes_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    ini = write_ini(tmp_path, f"[server]\nport={free_port()}\ndirectory={tmp_path}/{name}\n")
    worker = WorkerProcess(ini, None)
    worker.start()
    assert (tmp_path / name / "appendonlydir").is_dir()
    assert worker.stop() == 0


def test_what_is_no_lock_file_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "valkey"
    directory.mkdir(0o700)
    (directory / ".server.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServerNotStarted, match=r"\.server\.lock"):
        _server(directory).start()
    assert not (tmp_path / "elsewhere").exists()


def test_trap_27_the_lock_is_kept_while_the_server_lives(tmp_path: Path) -> None:
    server = _server(tmp_path / "valkey")
    server.start()
    lock = os.open(tmp_path / "valkey" / ".server.lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)
    server.stop()
