"""The plugin's README, as a newcomer follows it: a fresh Haraka, a bare clone, an empty folder, a real server."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from haraka.demo.instance import DEFAULTS
from haraka.demo.process import Process, ProcessDiedError
from haraka.demo.waiting import free_port
from tests.haraka.packages import PLUGIN, USUAL, bare_clone, documented_commands, haraka_in, npm
from tests.support.servers import RealValkey

pytestmark = [pytest.mark.haraka, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("install") / "haraka"
    haraka_in(folder, USUAL)
    return folder


@pytest.fixture
def haraka(fresh: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "haraka"
    shutil.copytree(fresh, folder, symlinks=True)
    config = folder / "config"
    config.mkdir()
    for name in DEFAULTS:
        shutil.copy(folder / "node_modules" / "Haraka" / "config" / name, config)
    (config / "smtp.ini").write_text(f"listen=127.0.0.1:{free_port()}\nnodes=0\n")
    (config / "loglevel").write_text("info\n")
    (config / "plugins").write_text("")
    return folder


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RealValkey]:
    with RealValkey(tmp_path / "valkey") as server:
        yield server


def started(haraka: Path) -> Process:
    command: list[str | Path] = ["node", haraka / "node_modules" / "Haraka" / "bin" / "haraka", "-c", haraka]
    return Process("Haraka", command, haraka / "haraka.log")


def run(command: str, haraka: Path, **places: str) -> None:
    for name, value in places.items():
        command = command.replace(name, value)
    done = subprocess.run(["bash", "-c", command], cwd=haraka, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_documented_commands_are_enough_from_a_bare_clone_and_later_installs_leave_it_working(
    haraka: Path, tmp_path: Path, valkey: RealValkey
) -> None:
    checkout = tmp_path / "a checkout"
    bare_clone(checkout)
    for command in documented_commands():
        run(command, haraka, **{"<checkout>": shlex.quote(str(checkout)), "port=6379": f"port={valkey.settings.port}"})
    npm("install", "address-rfc2822", cwd=haraka)
    process = started(haraka)
    try:
        process.wait_until(lambda: "Plugin is Ready!" in process.logged(), "the plugin")
        with valkey.client() as client:
            process.wait_until(lambda: client.hlen("{haraka:accounting}:nodes") == 1, "a note in the server")
    finally:
        process.kill()


def test_haraka_is_told_what_to_do_where_its_own_redis_client_would_be_loaded(haraka: Path, tmp_path: Path) -> None:
    copied = haraka / "node_modules" / "haraka-plugin-accounting-stream"
    shutil.copytree(bare_clone(tmp_path / "checkout"), copied)  # as who copies the folder
    assert refusal(haraka) == f"run `npm ci --omit=dev` in {copied}, then start Haraka again"
    npm("ci", "--omit=dev", "--ignore-scripts", cwd=copied)
    process = started(haraka)
    try:
        process.wait_until(lambda: "Plugin is Ready!" in process.logged(), "the plugin")
    finally:
        process.kill()


def test_haraka_is_told_what_to_do_where_no_redis_client_is_found(haraka: Path, tmp_path: Path) -> None:
    plugin = bare_clone(tmp_path / "checkout")
    npm("install", "--ignore-scripts", str(plugin), cwd=haraka)
    assert refusal(haraka) == f"run `npm ci --omit=dev` in {plugin}, then start Haraka again"


def test_the_package_has_everything_but_the_script_for_a_checkout(haraka: Path, tmp_path: Path) -> None:
    npm("pack", f"--pack-destination={tmp_path}", str(PLUGIN), cwd=tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    npm("install", "--ignore-scripts", str(package), cwd=haraka)
    (haraka / "config" / "plugins").write_text("accounting-stream\n")
    process = started(haraka)
    try:
        process.wait_until(lambda: "Plugin is Ready!" in process.logged(), "the plugin")
    finally:
        process.kill()


def refusal(haraka: Path) -> str:
    """Return what Haraka's log says should be done, where the plugin does not let it start."""
    (haraka / "config" / "plugins").write_text("accounting-stream\n")
    process = started(haraka)
    try:
        with pytest.raises(ProcessDiedError):
            process.wait_until(lambda: "Plugin is Ready!" in process.logged(), "the plugin")
        (line,) = {line for line in process.logged().splitlines() if "@redis/client 5 is needed" in line}
        return line[line.index("run `npm") :]
    finally:
        process.kill()
