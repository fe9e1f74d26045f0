"""`python -m tests.crash`: many histories of several workers, or the table of deliberate breakages."""

import argparse
import random
import sys
import time
import traceback

from tests.crash.history import History, draw, run, shrink
from tests.crash.simulation import quiet


def main() -> int:
    """Run histories until one fails; shrink it and show it."""
    arguments = _arguments()
    quiet()
    began, seed = time.perf_counter(), arguments.seed
    for number in range(seed, seed + arguments.histories):
        history = draw(random.Random(number), forgetful=arguments.forgetful)
        error = failure(history)
        if error:
            print(f"seed {number}: {error}\nshrinking", flush=True)
            small = shrink(history, lambda each, like=_kind(error): _kind(failure(each)) == like)  # type: ignore[misc]
            print(small)
            run_traced(small)
            return 1
        if number % 100 == 99:
            print(f"{number + 1 - seed} histories, {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{arguments.histories} histories passed in {time.perf_counter() - began:.0f} s")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--forgetful", action="store_true", help="servers that lose the tail of their commands, too")
    return parser.parse_args()


def failure(history: History) -> str:
    """Return what is wrong in the end of a history, or nothing."""
    try:
        run(history)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is reported
        return f"{type(error).__name__}: {error}"[:2000]
    return ""


def _kind(error: str) -> str:
    return error[:25]


def run_traced(history: History) -> None:
    """Run a history once more, saying what happens."""
    try:
        run(history, trace=print)
    except Exception:  # noqa: BLE001
        traceback.print_exc(file=sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
