"""Breaks the code as `breakages.py` says, and looks who notices. Works on copies; nothing of the tree is changed."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.crash.breakage import Breakage, Edit, Search
from tests.crash.breakages import BREAKAGES

_ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("worker", "schemas", "config", "tests", "haraka/plugin/lib", "pyproject.toml")
_PATIENCE_SECONDS = 600


class Outcome(NamedTuple):
    """What came of a breakage."""

    is_noticed: bool
    how: str
    seconds: float


def try_all(tell: Callable[..., None], *, chosen: str = "", jobs: int = 1) -> int:
    """Try each breakage whose rule or words hold some text; prints a table, returns how many go unnoticed."""
    breakages = [each for each in BREAKAGES if chosen in f"{each.rule} {each.what}"]
    unnoticed = 0
    with ThreadPoolExecutor(jobs) as pool:
        if failing := _failing_without_a_breakage(breakages, pool):
            raise AssertionError(f"red without a breakage: {', '.join(failing)}")
        for breakage, outcome in zip(breakages, pool.map(outcome_of, breakages), strict=True):
            unnoticed += not outcome.is_noticed
            tell(f"{breakage.rule:8} {breakage.what:78} {outcome.how:100} {outcome.seconds:4.0f} s")
    tell(f"{len(breakages) - unnoticed} of {len(breakages)} breakages are noticed")
    return unnoticed


def outcome_of(breakage: Breakage) -> Outcome:
    """Break a copy of the code, and let what has to notice it run there."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as base:
        _copy(Path(base))
        for edit in breakage.edits:
            _apply(Path(base), edit)
        outcomes = [_run(Path(base), witness) for witness in breakage.witnesses]
    missed = [how for is_red, how in outcomes if not is_red]
    how = f"NOT NOTICED by {', '.join(missed)}" if missed else ", ".join(how for _, how in outcomes)
    return Outcome(not missed, how, time.perf_counter() - began)


def _failing_without_a_breakage(breakages: Iterable[Breakage], pool: ThreadPoolExecutor) -> list[str]:
    """Return what is red without a breakage: it would tell nothing."""
    with tempfile.TemporaryDirectory() as base:
        _copy(Path(base))
        each = dict.fromkeys(witness for breakage in breakages for witness in breakage.witnesses)
        return [how for is_red, how in pool.map(partial(_run, Path(base)), each) if is_red]


def _copy(base: Path) -> None:
    for part in _PARTS:
        (base / part).parent.mkdir(parents=True, exist_ok=True)
        if (_ROOT / part).is_dir():
            shutil.copytree(_ROOT / part, base / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(_ROOT / part, base / part)


def _apply(base: Path, edit: Edit) -> None:
    """Replace the text; raises where it does not stand there exactly once."""
    file = base / edit.file
    source = file.read_text()
    assert source.count(edit.old) == 1, f"{edit.file} holds {source.count(edit.old)} times: {edit.old!r}"
    file.write_text(source.replace(edit.old, edit.new))


def _run(base: Path, witness: Search | str) -> tuple[bool, str]:
    """Run a search or a test on a copy; tells whether it is red, and how."""
    match witness:
        case Search(seed, histories, world):
            numbers = ["--seed", str(seed), "--histories", str(histories)]
            words, red = ["tests.crash", "--jobs", "1", "--brief", "--worlds", world, *numbers], "seed "
        case node:
            words, red = ["pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=120", node], "FAILED "
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=base, env={**os.environ, "PYTHONPATH": str(base)},
            capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return True, f"{words[0]} does not end"
    lines = [line for line in done.stdout.splitlines() if line.startswith(red)]
    assert done.returncode == bool(lines), f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
    shown = lines[0].removeprefix("FAILED ").split(" - ")[0] if lines else " ".join(words)
    return bool(lines), shown[:100]
