"""The shipped users (config/valkey.acl) on each version of Redis and Valkey that is here: they can work, not more."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from haraka.demo.waiting import free_port
from tests.server.test_command_line import run
from tests.server.test_compose_commands import BASE, EVENT, PUBLISH, PUBLISH_KEYS, REFUSED, call, is_refusal
from tests.support.any_server import servers_here
from tests.support.files import recipients_in
from tests.support.servers import WorkerProcess, wait_until
from tests.support.workers import HandClock, make_worker, settings
from worker.chores import Chores
from worker.stream.link import connector

ROOT = Path(__file__).parents[2]
PASSWORDS = {"worker": "of the worker", "haraka": "of Haraka"}

#: What 6.2 cannot forbid: rights for some keys alone.
ONLY_SINCE_7 = {
    "haraka": {f"HSET {BASE}:wanted a 1", f"HGET {BASE}:nodes a"},
    "worker": {f"XGROUP DESTROY {BASE}:delivered accounting", f"XDEL {BASE}:delivered 0-1"},
}


class Users:
    """A server that valkey-start.sh has started, and its users."""

    def __init__(self, executable: Path, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        for name in ("secrets", "run", "data"):
            (directory / name).mkdir()
        for user, password in PASSWORDS.items():
            (directory / "secrets" / f"{user}_password").write_text(f"{password}\n")
        places = [str(ROOT / "config"), *(str(directory / name) for name in ("secrets", "run", "data"))]
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--logfile", str(directory / "log")]
        self._process = subprocess.Popen(
            ["sh", str(ROOT / "config" / "valkey-start.sh"), *places, *options],
            env={**os.environ, "SERVER": str(executable)},
        )
        wait_until(lambda: "Ready to accept" in self._log() or self._process.poll() is not None, "the server")
        assert self._process.poll() is None, self._log()
        version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout
        self.is_old = "v=6." in version

    def _log(self) -> str:
        log = self.directory / "log"
        return log.read_text() if log.exists() else ""

    def url(self, user: str, password: str = "") -> str:
        return f"redis://{user}{password}@127.0.0.1:{self.port}/0"

    def client(self, user: str) -> "redis.Redis":
        secret = PASSWORDS.get(user, "any")
        once = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, username=user, password=secret, socket_timeout=30, protocol=2, retry=once)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module", params=servers_here(), ids=str)
def users(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    made = Users(request.param, tmp_path_factory.mktemp("users"))
    yield made
    made.stop()


def test_the_oldest_and_the_newest_server_are_here() -> None:
    assert len(servers_here()) > 1 or "CI" not in os.environ


def test_workers_and_every_command_have_the_rights_that_they_need(
    users: Users, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ini = tmp_path / "accounting_files.ini"
    secret = users.directory / "secrets" / "worker_password"
    ini.write_text(f"path={tmp_path}/files\n[redis]\nurl={users.url('worker')}\npassword_file={secret}\n")
    secret.chmod(0o600)  # else there is a warning
    worker = WorkerProcess(ini, None)
    worker.start()
    with users.client("haraka") as haraka:
        batches = [("delivered", 1, json.dumps([EVENT])), ("bounce", 1, "[{}]")]
        for number, batch in enumerate(batches, 1):
            arguments = ["users", number, "", *batch]
            assert call(haraka, "EVAL", PUBLISH, len(PUBLISH_KEYS), *PUBLISH_KEYS, *arguments) == [b"OK"]
        assert call(haraka, "HSET", f"{BASE}:nodes", "users", "{}") == 1
        assert call(haraka, "SMEMBERS", f"{BASE}:wanted") == {b"-"}
    wait_until(lambda: recipients_in(tmp_path / "files")["a@b.test"] == 1, "the row")
    wait_until(lambda: "dead letters" in run("status", "--config", str(ini), cwd=tmp_path).stdout, "the dead letter")
    url = users.url("worker", f":{PASSWORDS['worker'].replace(' ', '%20')}")
    configured = settings(tmp_path / "others", name="worker-2")
    other = make_worker(configured, None, HandClock(), url=url)
    Chores(connector(configured.stream, url), configured.stream, other._directory).run()
    other.release()
    assert "postponed" not in caplog.text
    for command in (
        "status", "status --check worker-1", "find --rcpt a@b.test", "tail", "audit", "audit --deep", "producers",
        "dead list", "dead retry --all", "rotate --all", "replay --from - --into again",
    ):  # fmt: skip
        done = run(*command.split(), "--config", str(ini), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), (command, done)
    wait_until(lambda: "dead letters" in run("status", "--config", str(ini), cwd=tmp_path).stdout, "the letter again")
    assert worker.stop() == 0
    for command in ("dead drop --all --yes", "replay --from - --live --yes", "tidy", "retire worker-1"):
        done = run(*command.split(), "--config", str(ini), cwd=tmp_path)
        assert done.returncode in {0, 1}, (command, done)  # what was put back is pending for a worker that is gone
        assert "permission" not in done.stderr
    assert "permission" not in worker.log()
    assert "NOPERM" not in worker.log()


@pytest.mark.parametrize("user", REFUSED)
def test_no_user_can_do_more_than_it_needs(users: Users, user: str) -> None:
    with users.client(user) as client:
        replies = {" ".join(command): call(client, *command) for command in REFUSED[user]}
    allowed = {name for name, reply in replies.items() if not is_refusal(reply)}
    assert allowed == (ONLY_SINCE_7.get(user, set()) & replies.keys() if users.is_old else set())
