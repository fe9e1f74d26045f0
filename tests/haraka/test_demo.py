"""The demo itself, as `make demo` runs it."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from haraka.demo.expect import Expectation, Row
from haraka.demo.instance import HERE
from haraka.demo.process import Process
from haraka.demo.report import compare
from tests.haraka.runs import PATIENCE_SECONDS, Run

A = Row("d", "m@sender.test", "a@b.test", "2.0.0", "taken")
B = Row("b", "m@sender.test", "b@b.test", "5.1.1", "550 5.1.1 nobody")


def command(directory: Path) -> list[str]:
    return [sys.executable, "-m", "haraka.demo", "--directory", str(directory)]


@pytest.mark.haraka
@pytest.mark.usefixtures("npm_packages")
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    demo = Process("demo", command(tmp_path / "demo"), tmp_path / "demo.log", cwd=HERE.parents[1])
    try:
        demo.wait_until(lambda: "Haraka with the plugin" in demo.logged(), "the start", PATIENCE_SECONDS)
        assert _processes_in(tmp_path) > {demo.pid}
        assert demo.stop(signal.SIGINT) == 130
        assert not _processes_in(tmp_path)
    finally:
        demo.kill()
        for left in _processes_in(tmp_path):
            os.kill(left, signal.SIGKILL)


@pytest.mark.haraka
def test_the_demo_agrees_with_its_sink_and_archives(futures: Mapping[str, Future[Run]], tmp_path: Path) -> None:
    assert futures  # the laboratories run meanwhile
    demo = subprocess.run(command(tmp_path), capture_output=True, text=True, cwd=HERE.parents[1], check=False)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "The files hold exactly what the sink answered." in demo.stdout
    archived = [file.name for file in tmp_path.glob("accounting_files/*/archive/*.tsv")]
    assert {name.partition(".")[0] for name in archived} == {"d", "df", "b"}
    assert all(name in demo.stdout for name in archived)


def test_a_missing_row_and_an_unexpected_one_are_a_difference() -> None:
    expectation = Expectation(
        rows=((A, "accepted"), (A, "accepted")), unsettled=frozenset(), dsns_due=0, dsns_too_many=0
    )
    assert compare(expectation, Counter({A: 2})).agrees
    once = compare(expectation, Counter({A: 1}))
    assert (once.agrees, once.missing, once.outcomes) == (False, Counter({A: 1}), {("d", "accepted"): (2, 1)})
    thrice = compare(expectation, Counter({A: 3}))
    assert (thrice.agrees, thrice.unexpected) == (False, Counter({A: 1}))
    other = compare(expectation, Counter({A: 2, B: 1}))
    assert (other.agrees, other.unexpected) == (False, Counter({B: 1}))


def _processes_in(directory: Path) -> set[int]:
    """Return the processes that have the directory in their command line or as their own."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments, home = (process / "cmdline").read_bytes(), (process / "cwd").readlink()
        except OSError:
            continue
        if os.fsencode(directory) in arguments or home.is_relative_to(directory):
            found.add(int(process.name))
    return found
