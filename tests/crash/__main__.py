"""`python -m tests.crash`: many histories of several workers, or the table of deliberate breakages."""

import argparse
import random
import sys
import time
import traceback
from functools import partial

from tests.crash.history import History, draw, run, shrink
from tests.crash.simulation import quiet

_ALIKE = 25  # characters of an error that tell one kind from another


def main() -> int:
    """Run histories until one fails; shrink it and show it."""
    arguments = _arguments()
    quiet()
    began, first = time.perf_counter(), arguments.seed
    for number in range(first, first + arguments.histories):
        history = draw(random.Random(number), forgetful=arguments.forgetful)
        if error := failure(history):
            say(f"seed {number}: {error}\nshrinking")
            _show(shrink(history, partial(_fails_alike, error)))
            return 1
        if (number - first) % 100 == 99:
            say(f"{number - first + 1} histories, {time.perf_counter() - began:.0f} s")
    say(f"{arguments.histories} histories passed in {time.perf_counter() - began:.0f} s")
    return 0


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


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


def _fails_alike(error: str, history: History) -> bool:
    """Tell whether a history fails in the same way."""
    return failure(history)[:_ALIKE] == error[:_ALIKE]


def _show(history: History) -> None:
    """Print a history, and run it once more, saying what happens."""
    say(str(history))
    try:
        run(history, trace=say)
    except Exception:  # noqa: BLE001
        say(traceback.format_exc())


if __name__ == "__main__":
    sys.exit(main())
