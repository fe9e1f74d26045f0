"""The very commands of compose.yaml and its Dockerfiles, run without containers.

Each service has a directory in place of its root file system: what is mounted, and nothing else, stands below it.
Paths, ports and host names are put in their places; the commands are not changed otherwise.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import Signals
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from haraka.demo.accounting import rows_of
from haraka.demo.messages import Message, demo_messages
from haraka.demo.process import Process
from haraka.demo.sender import send
from haraka.demo.waiting import free_port, wait_until
from schemas.events import TYPES
from tests.unit.test_compose import ROOT, mounts, resolve_compose
from worker.server import binary

Client = redis.Redis
PASSWORDS = {"worker": "of the worker", "haraka": "of Haraka"}
BASE = "{haraka:accounting}"
PUBLISH = (ROOT / "haraka" / "plugin" / "lib" / "publish.lua").read_text(encoding="utf-8")
PUBLISH_KEYS = [f"{BASE}:{name}" for name in ("producers", "ledger", *TYPES, "history")]
EVENT = {"v": 1, "type": "d", "eventId": "e:1", "timeLogged": 1_700_000_000_000, "rcpts": [{"rcpt": "a@b.test"}]}


class Stage:
    """A directory on which services of compose.yaml run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.services: dict[str, Any] = resolve_compose(directory / "podman", "demo")["services"]
        self.redis_port = free_port()
        self.smtp_ports = {name: free_port() for name in ("haraka", "haraka-demo", "sink")}
        self.running: dict[str, Process] = {}
        bin_directory = directory / "bin"
        bin_directory.mkdir()
        (bin_directory / "valkey-server").symlink_to(binary())
        for program in ("haraka-accounting", "python"):
            # Not a link: the interpreter finds its packages by its own path.
            here = Path(sys.executable).with_name(program)
            (bin_directory / program).write_text(f'#!/bin/sh\nexec {here} "$@"\n', encoding="utf-8")
            (bin_directory / program).chmod(0o755)
        node = shutil.which("node")
        if node:
            (bin_directory / "node").symlink_to(node)

    def root(self, service: str) -> Path:
        """Return what stands in the place of a service's root file system."""
        return self.directory / service

    def furnish(self, service: str) -> None:
        """Make what is mounted for a service: volumes and tmpfs empty, files and secrets with their content."""
        wanted, root = self.services[service], self.root(service)
        for target in wanted.get("tmpfs", ()):
            (root / target.partition(":")[0][1:]).mkdir(parents=True)
        for source, target, only_read in mounts(wanted):
            place = root / target[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            if not only_read:
                place.mkdir()
                continue
            for file in (ROOT / source).rglob("*") if (ROOT / source).is_dir() else [ROOT / source]:
                copy = place / file.relative_to(ROOT / source)
                copy.parent.mkdir(exist_ok=True)
                copy.write_text(self.placed(file.read_text(encoding="utf-8"), service), encoding="utf-8")
        for secret in wanted.get("secrets", ()):
            place = root / "run" / "secrets" / secret
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(PASSWORDS[secret.removesuffix("_password")] + "\n", encoding="utf-8")

    def placed(self, text: str, service: str) -> str:
        """Return the text with paths, ports and host names of the containers put in their places."""
        targets = [target for _, target, only_read in mounts(self.services[service]) if not only_read]
        targets += ["/etc/valkey", "/run/secrets", "/run/valkey", "/etc/haraka-accounting", "/haraka"]
        pattern = rf"(?<![\w./-])({'|'.join(map(re.escape, sorted(targets, reverse=True)))})(?![\w-])"
        text = re.sub(pattern, rf"{self.root(service)}\1", text)
        text = text.replace("@valkey:6379", f"@127.0.0.1:{self.redis_port}")
        text = text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - nothing is bound to it
        text = text.replace("exchange=sink\nport=2525", f"exchange=127.0.0.1\nport={self.smtp_ports['sink']}")
        if service == "sender":
            text, service = text.replace("haraka-demo", "127.0.0.1"), "haraka-demo"
        return text.replace("2525", str(self.smtp_ports.get(service)))

    def argv(self, service: str, command: list[str]) -> list[str]:
        """Return a command line with the service's environment and nothing of this one's."""
        environment = {"PATH": f"{self.directory}/bin:/usr/bin:/bin", **self.services[service].get("environment", {})}
        return [
            "env",
            "-i",
            *(f"{name}={self.placed(value, service)}" for name, value in environment.items()),
            *command,
        ]

    def command(self, service: str) -> list[str]:
        """Return what the service runs: its entrypoint, else its image's, and its command."""
        wanted = self.services[service]
        image = ["haraka-accounting"] if wanted.get("build", {}).get("target") == "app" else []
        command = [self.placed(word, service) for word in (*wanted.get("entrypoint", image), *wanted["command"])]
        return [*command, "--port", str(self.redis_port)] if service == "valkey" else command

    def start(self, service: str, ready: str) -> Process:
        """Start a service, and return once its log says that it is ready."""
        if not self.root(service).exists():
            self.furnish(service)
        log = self.directory / f"{service}.log"
        process = Process(service, self.argv(service, self.command(service)), log, cwd=ROOT)
        self.running[service] = process
        process.wait_until(lambda: ready in process.logged(), f"“{ready}”")
        return process

    def health(self, service: str, test: str) -> int:
        """Return the exit code of a health check."""
        command = self.argv(service, ["sh", "-c", self.placed(test, service)])
        return subprocess.run(command, check=False, capture_output=True).returncode

    def stop(self) -> None:
        """Stop everything, the last started first."""
        for name in reversed(tuple(self.running)):
            self.stop_one(name)

    def stop_one(self, service: str) -> int:
        """Stop a service with its own signal; return its exit code."""
        return self.running.pop(service).stop(Signals[self.services[service].get("stop_signal", "SIGTERM")])

    def client(self, user: str, password: str | None = None) -> Client:
        """Return a client that is logged in as a user of config/valkey.acl."""
        secret = PASSWORDS.get(user) if password is None else password
        once = Retry(NoBackoff(), 0)
        return redis.Redis(
            port=self.redis_port, username=user, password=secret, socket_timeout=5, protocol=2, retry=once
        )

    def rows(self) -> list[dict[str, str]]:
        """Return every row in the volumes of both workers."""
        return [row for number in (1, 2) for file in self.volume(number).rglob("*.tsv") for row in rows_of(file)]

    def volume(self, number: int) -> Path:
        """Return the volume of a worker."""
        return self.root(f"worker-{number}") / "var" / "lib" / "haraka-accounting"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return a stage on which the server and both workers run."""
    it = Stage(tmp_path_factory.mktemp("stage"))
    try:
        it.start("valkey", "Ready to accept connections")
        it.start("worker-1", "worker.ready")
        it.start("worker-2", "worker.ready")
        yield it
    finally:
        it.stop()


def call(client: Client, *command: object) -> object:
    """Return the reply, or the error, to a command as it stands."""
    try:
        return client.execute_command(*command)
    except redis.exceptions.RedisError as error:
        return error


def is_refusal(reply: object) -> bool:
    """Tell whether it was the user's rights that did not suffice, inside a script too."""
    in_script = ("ACL failure in script", "The user executing the script can't")  # since 7.2, and before
    return isinstance(reply, redis.exceptions.NoPermissionError) or any(words in str(reply) for words in in_script)


def test_the_server_keeps_what_it_acknowledges(stage: Stage) -> None:
    with stage.client("worker") as client:
        assert client.info("persistence")["aof_enabled"] == 1
        assert client.info("memory")["maxmemory_policy"] == "noeviction"
    data = stage.root("valkey") / "data" / "appendonlydir"
    assert any(file.stat().st_size for file in data.iterdir())
    assert "\nappendfsync always\n" in (ROOT / "config" / "valkey.conf").read_text(encoding="utf-8")


def test_what_haraka_nodes_publish_becomes_rows(stage: Stage) -> None:
    arguments = ["compose-test", 1, "", "delivered", 1, json.dumps([EVENT])]
    with stage.client("haraka") as client:
        missing = call(client, "EVALSHA", "0" * 40, len(PUBLISH_KEYS), *PUBLISH_KEYS, *arguments)
        assert isinstance(missing, redis.exceptions.NoScriptError)
        assert call(client, "EVAL", PUBLISH, len(PUBLISH_KEYS), *PUBLISH_KEYS, *arguments) == [b"OK"]
        assert call(client, "SMEMBERS", f"{BASE}:wanted") == {b"-"}
        assert call(client, "HSET", f"{BASE}:nodes", "mx1", "{}") == 1
    wait_until(lambda: "a@b.test" in {row["rcpt"] for row in stage.rows()}, "the row")


COMMON_REFUSED = [
    ["FLUSHALL"],
    ["FLUSHDB"],
    ["CONFIG", "GET", "*"],
    ["CONFIG", "SET", "appendonly", "no"],
    ["SHUTDOWN", "NOSAVE"],
    ["ACL", "LIST"],
    ["KEYS", "*"],
    ["SCAN", "0"],
    ["SAVE"],
    ["BGREWRITEAOF"],
    ["REPLICAOF", "NO", "ONE"],
    ["CLIENT", "KILL", "ID", "1"],
    ["MONITOR"],
    ["SUBSCRIBE", "any"],
    ["PUBLISH", "any", "thing"],
    ["SET", "other", "1"],
    ["HSET", "{haraka:other}:ledger", "a", "1"],
    ["XGROUP", "DESTROY", f"{BASE}:delivered", "accounting"],
    ["XDEL", f"{BASE}:delivered", "0-1"],
    ["RENAME", f"{BASE}:delivered", f"{BASE}:dead"],
    ["SCRIPT", "FLUSH"],
]
TRIM = ["XTRIM", f"{BASE}:delivered", "MAXLEN", "0"]  # the workers may: their script trims, and rights do not tell how
REFUSED = {
    "haraka": [
        *COMMON_REFUSED,
        TRIM,
        ["INFO"],
        ["SCRIPT", "LOAD", "return 1"],
        ["XRANGE", f"{BASE}:delivered", "-", "+"],
        ["XREADGROUP", "GROUP", "accounting", "x", "STREAMS", f"{BASE}:delivered", ">"],
        ["XACK", f"{BASE}:delivered", "accounting", "0-1"],
        ["XADD", f"{BASE}:dead", "*", "a", "1"],
        ["DEL", f"{BASE}:delivered"],
        ["HGETALL", f"{BASE}:records"],
        ["HSET", f"{BASE}:records", "a", "1"],
        ["HSET", f"{BASE}:owners", "a", "1"],
        ["HSET", f"{BASE}:wanted", "a", "1"],
        ["HGET", f"{BASE}:nodes", "a"],
        ["SET", f"{BASE}:epoch", "0"],
        ["EVAL", "return redis.call('XRANGE', KEYS[1], '-', '+')", "1", f"{BASE}:delivered"],
        ["EVAL", "return redis.call('HGET', ARGV[1], 'a')", "0", f"{BASE}:records"],
    ],
    "worker": [*COMMON_REFUSED, ["EVAL", "return 1", "0"], ["DEL", "other"], ["HGETALL", "{haraka:other}:records"]],
    "health": [*COMMON_REFUSED, TRIM, ["INFO"], ["GET", f"{BASE}:epoch"], ["EVAL", "return 1", "0"]],
}


@pytest.mark.parametrize("user", REFUSED)
def test_no_user_can_do_more_than_it_needs(stage: Stage, user: str) -> None:
    with stage.client(user, "any" if user == "health" else None) as client:
        replies = {" ".join(command): call(client, *command) for command in REFUSED[user]}
    allowed = {name: reply for name, reply in replies.items() if not is_refusal(reply)}
    assert allowed == {}


@pytest.mark.parametrize(
    ("user", "password"), [("default", ""), ("worker", "wrong"), ("haraka", PASSWORDS["worker"]), ("haraka", "")]
)
def test_nobody_gets_in_without_the_password(stage: Stage, user: str, password: str) -> None:
    with stage.client(user, password) as client:
        assert isinstance(call(client, "PING"), redis.exceptions.AuthenticationError | redis.exceptions.ResponseError)


def test_the_servers_health_check_needs_no_password(stage: Stage) -> None:
    assert "valkey-cli --user health --pass none" in stage.services["valkey"]["healthcheck"]["test"]
    with stage.client("health", "none") as client:
        assert call(client, "PING") in {True, b"PONG"}


def test_the_passwords_digests_can_be_read_by_the_server_alone(stage: Stage) -> None:
    users = stage.root("valkey") / "run" / "valkey" / "users.acl"
    assert users.stat().st_mode & 0o777 == 0o600
    text = users.read_text(encoding="utf-8")
    assert "_password" not in text
    assert not any(password in text for password in PASSWORDS.values())


@pytest.mark.parametrize("content", [None, "", "\nsecond line\n"])
def test_the_server_does_not_start_without_a_password(stage: Stage, tmp_path: Path, content: str | None) -> None:
    shutil.copytree(stage.root("valkey") / "run" / "secrets", tmp_path / "secrets")
    secret = tmp_path / "secrets" / "worker_password"
    secret.unlink() if content is None else secret.write_text(content, encoding="utf-8")
    command = ["sh", f"{ROOT}/config/valkey-start.sh", f"{ROOT}/config", f"{tmp_path}/secrets", "/nowhere", "/nowhere"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 78
    assert "worker_password" in outcome.stderr


def test_a_worker_is_healthy_while_it_has_its_lease(stage: Stage) -> None:
    test = shlex.join(stage.services["worker-2"]["healthcheck"]["test"][1:])
    assert stage.health("worker-2", test) == 0
    assert stage.stop_one("worker-2") == 0
    assert stage.health("worker-2", test) != 0
    assert stage.health("worker-1", test) == 0
    stage.start("worker-2", "worker.ready")
    assert stage.health("worker-2", test) == 0


def test_the_images_own_health_check_tells_whether_its_worker_works(stage: Stage) -> None:
    found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    test = " ".join(json.loads(found[1]))
    assert stage.health("worker-1", test) == 0
    assert stage.health("worker-1", f"ACCOUNTING_NAME=worker-3 {test}") != 0
    assert stage.health("worker-1", f"env -u ACCOUNTING_NAME {test}") != 0  # nobody works by the host's name
    assert stage.health("worker-1", f"ACCOUNTING_REDIS_URL=redis://127.0.0.1:{free_port()} {test}") != 0


def test_a_worker_that_is_stopped_leaves_sealed_archived_files(stage: Stage) -> None:
    assert stage.stop_one("worker-1") == 0
    archived = list((stage.volume(1) / "delivered" / "archive").glob("d.*.tsv"))
    left = [file for file in stage.volume(1).rglob("*.tsv") if file.parent.name != "archive"]
    stage.start("worker-1", "worker.ready")
    assert left == []
    assert all(file.with_name(f"{file.name}.json").exists() for file in archived)


@pytest.fixture(scope="module")
def with_haraka(stage: Stage) -> Stage:
    """Return the stage with the image of Haraka made by the commands of its Dockerfile."""
    image = stage.directory / "image"
    text = (ROOT / "haraka" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for sources, target in re.findall(r"^COPY (.+) (\S+)$", text, re.MULTILINE):
        for source in sources.split():
            place = Path(f"{image}{target}" if target.startswith("/") else image / target)
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("node_modules", "test", "bench")
                shutil.copytree(ROOT / source, place, dirs_exist_ok=True, ignore=ignored)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    (commands,) = re.findall(r"^RUN (cd plugin.+)$", text, re.MULTILINE)
    subprocess.run(["sh", "-e", "-c", commands.replace("npm cache clean --force", "true")], cwd=image, check=True)
    for service in ("haraka", "haraka-demo"):
        stage.furnish(service)
        shutil.copytree(image / "haraka" / "plugins", stage.root(service) / "haraka" / "plugins")
        (stage.root(service) / "haraka" / "node_modules").symlink_to(image / "demo" / "node_modules")
    return stage


def haraka_health() -> str:
    """Return the health check of Haraka's image as a shell command."""
    text = (ROOT / "haraka" / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE)
    assert found
    return shlex.join(json.loads(found[1]))


def written(root: Path) -> set[str]:
    """Return every file below a service's root."""
    return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file() and not file.is_symlink()}


@pytest.mark.haraka
def test_haraka_takes_mail_from_its_network_and_writes_into_its_volumes_alone(with_haraka: Stage) -> None:
    stage, service = with_haraka, "haraka"
    before = written(stage.root(service))
    assert stage.health(service, haraka_health()) != 0
    stage.start(service, "Plugin is Ready!")
    wait_until(lambda: stage.health(service, haraka_health()) == 0, "the greeting")
    send([Message("news@sender.test", ("someone@nowhere.invalid",))], stage.smtp_ports[service])
    wait_until(lambda: "someone@nowhere.invalid" in {row["rcpt"] for row in stage.rows()}, "the row")
    assert stage.stop_one(service) == 0
    new = written(stage.root(service)) - before
    assert {name for name in new if not name.startswith(("haraka/queue/", "haraka/spool/"))} == set()


@pytest.mark.haraka
def test_the_demos_mail_goes_the_whole_way(with_haraka: Stage) -> None:
    stage = with_haraka
    stage.start("sink", "sink.ready")
    assert stage.health("sink", shlex.join(stage.services["sink"]["healthcheck"]["test"][1:])) == 0
    stage.start("haraka-demo", "Plugin is Ready!")
    wait_until(lambda: stage.health("haraka-demo", haraka_health()) == 0, "the greeting")
    stage.start("sender", "sender.done")
    sent = {rcpt for message in demo_messages() for rcpt in message.rcpts}

    def ended() -> set[str]:
        return {row["rcpt"] for row in stage.rows() if row["type"] in {"d", "b"}}

    wait_until(lambda: sent <= ended(), "the last outcome", 120.0)
    assert {row["type"] for row in stage.rows()} == {"d", "df", "b"}
