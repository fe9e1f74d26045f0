"""`python -m tests.fuzz`: every target for so many seconds, one process a core; `again FILE`: a finding once more."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import by_hypothesis
from tests.fuzz.targets import TARGETS
from tests.fuzz.watched import FINDINGS, bound_memory, keep, limited, target_of

_DRIVERS = ("atheris", "hypothesis")
_AGAIN = "python -m tests.fuzz again"
_OVER_SECONDS = 300  # what a finding may take beyond the time, until it is as small as it gets


class Result(NamedTuple):
    """What came of a target."""

    target: str
    executions: int
    seconds: float
    said: str  # the end of it, where there is a finding
    findings: Sequence[Path]


def main() -> int:
    """Fuzz, or try a finding again."""
    arguments = _arguments()
    if arguments.targets[:1] == ["again"]:
        return _again([Path(each) for each in arguments.targets[1:]])
    chosen = arguments.targets or list(TARGETS)
    if unknown := [name for name in chosen if name not in TARGETS]:
        sys.exit(f"{unknown[0]}: no target, expected some of {', '.join(TARGETS)}")
    if arguments.inside:
        return _inside(chosen[0], arguments.seconds)
    fuzz = partial(_fuzz, driver=arguments.driver, seconds=arguments.seconds)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = [_told(result) for result in pool.map(fuzz, chosen)]
    return int(any(result.findings or result.said for result in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"{', '.join(TARGETS)}; all where none is named; or: again FILE…")
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS", "1800")))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    there = [name for name in _DRIVERS if importlib.util.find_spec(name)]
    parser.add_argument("--driver", choices=_DRIVERS, default=there[0])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _fuzz(target: str, driver: str, seconds: float) -> Result:
    """Fuzz one target in a process of its own, which may die of what it finds."""
    before = _findings(target)
    inside = [sys.executable, "-m", "tests.fuzz", "--inside", target, "--seconds", str(seconds)]
    command = [sys.executable, "-m", "tests.fuzz.by_coverage", target, str(seconds)] if driver == "atheris" else inside
    begun = time.monotonic()
    limit = seconds + _OVER_SECONDS
    done = subprocess.run(
        ["timeout", "--kill-after=10", str(limit), *command],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    output = done.stdout + done.stderr
    counted = re.findall(r"(?:number_of_executed_units:|executions) *(\d+)", output) or re.findall(r"#(\d+)", output)
    findings = sorted(_findings(target) - before)
    said = output[-3000:] if done.returncode else ""
    return Result(target, int(counted[-1]) if counted else 0, time.monotonic() - begun, said, findings)


def _findings(target: str) -> set[Path]:
    return set(FINDINGS.glob(f"{target}-*"))


def _told(result: Result) -> Result:
    found = f"{len(result.findings)} findings" if result.findings else "fails" if result.said else "nothing found"
    say(f"{result.target:10} {result.executions:12,} executions {result.seconds:6.0f} s  {found}")
    if result.said:
        say(result.said)
    for path in result.findings:
        say(f"  once more: {_AGAIN} {path}")
    return result


def _inside(target: str, seconds: float) -> int:
    """Run the driver that needs nothing, in this process."""
    bound_memory()
    outcome = by_hypothesis.run(target, seconds)
    say(f"executions {outcome.executions}")
    if outcome.error is None:
        return 0
    say(f"{outcome.error!r}; once more: {_AGAIN} {keep(target, outcome.failing or b'')}")
    return 1


def _again(findings: Sequence[Path]) -> int:
    """Try findings; the traceback of the first that still is one ends this."""
    bound_memory()
    for path in findings:
        with limited(60):
            TARGETS[target_of(path)](path.read_bytes())
        say(f"{path}: nothing is wrong with it")
    return 0


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
