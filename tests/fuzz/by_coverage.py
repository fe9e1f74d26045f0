"""The driver that follows coverage, where atheris has a wheel: `python -m tests.fuzz.by_coverage TARGET SECONDS`.

libFuzzer ends this process at the first finding, in whatever way, and leaves the input in a file.
"""

import logging
import sys
from pathlib import Path

import atheris

from tests.fuzz.corpus import FOLDER
from tests.fuzz.watched import FINDINGS

with atheris.instrument_imports(include=["worker", "config", "schemas"]):
    from tests.fuzz.targets import TARGETS

_GROWN = Path(".fuzz/corpus")  # what it found worth keeping, for the next run


def main() -> None:
    """Fuzz a target for so many seconds."""
    target, seconds = sys.argv[1:]
    grown = _GROWN / target
    for folder in (grown, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={int(float(seconds))}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=8192",
        f"-artifact_prefix={FINDINGS}/{target}-", "-print_final_stats=1",
    ]  # fmt: skip
    logging.disable()
    atheris.Setup([sys.argv[0], *options, str(grown), str(FOLDER / target)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
