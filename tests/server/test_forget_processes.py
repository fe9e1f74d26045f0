"""`forget` as processes: two at once beside workers and janitors, and killed again and again."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.support.forgetting import ANN, Site, holds_ann
from tests.support.servers import RealValkey, wait_until
from worker.errors import ExitCode

REMOVE = ("forget", ANN, "--remove", "--reason", "request 17")


def start(site: Site, *arguments: str, redis: bool = True) -> subprocess.Popen[bytes]:
    server = ("--redis", site.url) if redis else ()
    command = [sys.executable, "-m", "worker", *arguments, "--config", str(site.ini), *server]
    return subprocess.Popen(command, cwd=site.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def compressing(site: Site) -> None:
    site.ini.write_text(site.ini.read_text().replace("archiving=true", "archiving=true\ncompress=zstd"))


def test_two_at_once_beside_a_worker_and_janitors_leave_every_row_once(valkey: RealValkey, tmp_path: Path) -> None:
    site = Site(valkey, tmp_path)
    compressing(site)
    site.publish_all()
    worker = site.worker()
    for _ in range(2):
        site.publish_all()
        started = [start(site, *REMOVE), start(site, "tidy", redis=False), start(site, *REMOVE)]
        site.publish_all()
        assert {each.wait(60) for each in started} <= {ExitCode.OK, ExitCode.FAILED, ExitCode.LOCKED}
    wait_until(site.is_drained, "all rows are committed")
    worker.stop()
    site.remove()
    assert site.tidy()
    assert not holds_ann(b"".join(site.plain()))
    assert site.found(ANN) == 0
    assert site.verify() == 0
    site.audit_is_clean("--deep")


def kill_once_begun(site: Site, seconds: float) -> None:
    """Start a removal, and kill it so many seconds after its note is there."""
    known = len(list(site.notes()))
    process = start(site, *REMOVE)
    wait_until(lambda: len(list(site.notes())) > known or process.poll() is not None, "it has begun")
    time.sleep(seconds)
    process.kill()
    process.wait()


def test_killed_at_any_moment_it_leaves_files_that_are_as_their_manifests_say(
    valkey: RealValkey, tmp_path: Path
) -> None:
    site = Site(valkey, tmp_path)
    site.publish_all()
    site.write()
    chance = random.Random(os.urandom(8))  # wherever the machine's load puts it
    for _ in range(8):
        kill_once_begun(site, chance.random() * 0.05)
        assert site.verify() == 0
        site.audit_is_clean()
    site.remove()
    assert not holds_ann(b"".join(site.plain()))
    assert site.found("joann@example.org") == 3
    site.audit_is_clean("--deep")
    assert site.tidy()
    forms = [file.name for file in site.files.rglob("*") if ".forgotten-" in file.name]
    assert forms
    assert len(forms) == len({name.partition(".forgotten-")[0] for name in forms})
