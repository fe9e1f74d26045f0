"""`python -m tests.crash`: many histories of several workers, or the deliberate breakages."""

import argparse
import gc
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tests.crash.breaking import try_all
from tests.crash.history import WORLDS, History, draw, run, shrink

_ALIKE = 25  # characters of an error that tell one kind from another
TURNS = (
    "sound",
    "forgetful",
    "carried",
    "troubled",
    "wild",
    "touched",
    "forgetful",
    "handled",
    "claimed",
    "configured",
)
_CHUNK = 20  # histories that a process takes at once


def main() -> int:
    """Run histories until one fails, shrink it and show it; or try the breakages."""
    arguments = _arguments()
    if arguments.breakages is not None:
        return bool(try_all(say, chosen=arguments.breakages, jobs=arguments.jobs))
    seeds = range(arguments.seed, arguments.seed + arguments.histories)
    began = time.perf_counter()
    with _failures(seeds, arguments.worlds, jobs=arguments.jobs) as failures:
        for done, (seed, error) in enumerate(failures, 1):
            if error:
                say(f"seed {seed}: {error}")
                if arguments.brief:
                    return 1
                say("shrinking")
                history = _history(seed, arguments.worlds)
                _show(shrink(history, partial(_fails_alike, error)))
                return 1
            if done % 500 == 0:
                say(f"{done} histories, {time.perf_counter() - began:.0f} s")
    say(f"{arguments.histories} histories passed in {time.perf_counter() - began:.0f} s")
    return 0


@contextmanager
def _failures(seeds: range, worlds: Sequence[str], *, jobs: int) -> Iterator[Iterator[tuple[int, str]]]:
    """Give each seed with what is wrong in the end of its history, or nothing."""
    with multiprocessing.Pool(jobs, prepare) as pool:
        yield pool.imap_unordered(partial(_failure_of_seed, worlds), seeds, _CHUNK)


def prepare() -> None:
    """Get a process ready for many histories: collect cycles rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def _failure_of_seed(worlds: Sequence[str], seed: int) -> tuple[int, str]:
    return seed, failure(_history(seed, worlds))


def _history(seed: int, worlds: Sequence[str]) -> History:
    """Draw the history of a seed: seeds take turns with the worlds."""
    return draw(random.Random(seed), worlds[seed % len(worlds)])


def say(*words: object) -> None:
    """Print a line at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=TURNS, help="what can happen besides deaths")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that share the histories")
    parser.add_argument("--brief", action="store_true", help="tell what fails, without shrinking it")
    parser.add_argument(
        "--breakages", nargs="?", const="", metavar="TEXT", help="break the code, rule by rule (or where TEXT is in it)"
    )
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
    say(history)
    try:
        run(history, trace=say)
    except Exception:  # noqa: BLE001
        say(traceback.format_exc())


if __name__ == "__main__":
    sys.exit(main())
