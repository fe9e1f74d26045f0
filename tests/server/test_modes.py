"""Who may read what is written: the worker's user, or its group too, whatever umask a process was started with."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.test_command_line import write_ini
from tests.support.files import recipients_in
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION

_INI = "archiving=true\ncompress=zstd\narchive_url=file://{tmp_path}/copies\n"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=lambda umask: f"umask {umask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Let what is started have this umask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _haraka_accounting(ini: Path, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", "worker", *arguments, "--config", ini]
    done = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _modes(*roots: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the modes of all directories and of all files."""
    found = [each for root in roots for each in (root, *root.rglob("*"))]
    modes = {str(each): stat.S_IMODE(each.lstat().st_mode) for each in found}
    assert not any(each.is_symlink() for each in found)
    return (
        {str(each): modes[str(each)] for each in found if each.is_dir()},
        {str(each): modes[str(each)] for each in found if not each.is_dir()},
    )


def _write_everything(ini: Path, valkey: RealValkey) -> list[Path]:
    """Let all that writes files write, a crash included; returns where."""
    tmp_path = ini.parent
    worker = WorkerProcess(ini, valkey.url)
    publisher = Publisher(valkey.client(), PARTITION)
    publisher.publish_some(9)
    worker.start()
    wait_until(lambda: len(recipients_in(tmp_path / "files")) > 0, "rows")
    wait_until(lambda: sum(recipients_in(tmp_path / "files").values()) == sum(publisher.counts().values()), "rows")
    worker.kill()
    for file in (tmp_path / "files" / "delivered").glob("*.tsv"):
        with file.open("ab") as content:
            content.write(b"a tail that nobody acknowledged\n")
    worker.start()
    assert any((tmp_path / "files" / "recovered").iterdir())
    assert worker.stop() == 0
    replay = ("replay", "--redis", valkey.url, "--from", "-")
    _haraka_accounting(ini, "tidy")
    _haraka_accounting(ini, *replay, "--into", tmp_path / "again")
    _haraka_accounting(ini, *replay, "--export", tmp_path / "export.ndjson")
    return [tmp_path / "files", tmp_path / "again", tmp_path / "copies", tmp_path / "export.ndjson"]


@pytest.mark.parametrize("group_readable", [False, True], ids=["private", "for the group"])
def test_all_that_holds_addresses_has_the_configured_modes_under_any_umask(
    valkey: RealValkey, tmp_path: Path, umask: int, *, group_readable: bool
) -> None:
    text = _INI.format(tmp_path=tmp_path) + f"group_readable={group_readable}\n"
    directories, files = _modes(*_write_everything(write_ini(tmp_path, text), valkey))
    assert len(files) > 20
    assert set(directories.values()) == {0o750 if group_readable else 0o700}, directories
    expected = {0o640, 0o440} if group_readable else {0o600, 0o400}
    locks = {name: mode for name, mode in files.items() if name.endswith(("lock", "/.janitor"))}
    assert len(locks) >= 4
    assert set(locks.values()) == {0o600}, locks
    others = {name: oct(mode) for name, mode in files.items() if name not in locks and mode not in expected}
    assert others == {}


def test_a_directory_that_others_can_enter_is_named_at_the_start_and_keeps_its_mode(
    valkey: RealValkey, tmp_path: Path
) -> None:
    path = tmp_path / "files"
    path.mkdir()
    path.chmod(0o755)
    (path / "bounce").mkdir()
    (path / "bounce").chmod(0o777)
    worker = WorkerProcess(write_ini(tmp_path), valkey.url)
    worker.start()
    assert worker.stop() == 0
    told = [line for line in worker.log().splitlines() if "directory.exposed" in line]
    assert len(told) == 2
    assert f"directory={path} " in told[0]
    assert "everybody can look into it" in told[0]
    assert f"directory={path}/bounce " in told[1]
    assert "everybody can change what is there" in told[1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_private_directory_guards_what_is_in_it_but_not_where_a_link_leads(
    valkey: RealValkey, tmp_path: Path
) -> None:
    path, outside = tmp_path / "files", tmp_path / "outside"
    path.mkdir(0o700)
    outside.mkdir()
    outside.chmod(0o755)
    (path / "bounce").symlink_to(outside)
    (path / "delivered").mkdir()
    (path / "delivered").chmod(0o755)
    worker = WorkerProcess(write_ini(tmp_path), valkey.url)
    worker.start()
    assert worker.stop() == 0
    [told] = [line for line in worker.log().splitlines() if "directory.exposed" in line]
    assert f"directory={path}/bounce " in told
