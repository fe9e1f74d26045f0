"""The driver that runs everywhere: Hypothesis makes inputs out of kept ones, and shrinks what it finds."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.choices import Choices
from tests.fuzz.corpus import seeds
from tests.fuzz.targets import TARGETS
from tests.fuzz.watched import limited

_EXAMPLES = 300  # a round: then another begins, with another seed
_LONGEST = 65_536
_quiet = settings(
    max_examples=_EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    print_blob=False,
)


class Outcome(NamedTuple):
    """What came of a run."""

    executions: int
    failing: bytes | None = None
    error: BaseException | None = None


class _Tried:
    """A target that counts, and remembers what failed last: the smallest, once Hypothesis is done."""

    def __init__(self, target: str, seconds: float) -> None:
        self._check = TARGETS[target]
        self._end = time.monotonic() + seconds
        self.executions = 0
        self.failing: bytes | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether the time is up; shrinking may take longer."""
        return self.failing is None and time.monotonic() >= self._end

    def __call__(self, data: bytes) -> None:
        if self.is_over:
            return
        self.executions += 1
        try:
            with limited():
                self._check(data)
        except BaseException:
            self.failing = data
            raise


def run(target: str, seconds: float) -> Outcome:
    """Try the kept inputs, then others for so long; stop at the first finding."""
    tried = _Tried(target, seconds)
    kept = seeds(target)
    try:
        for data in kept:
            tried(data)
        number = 0
        while not tried.is_over:
            seed(number)(_quiet(given(data=_inputs(kept))(tried.__call__)))()
            number += 1
    except Exception as error:
        if tried.failing is None:
            raise  # of the driver itself
        return Outcome(tried.executions, tried.failing, error)
    return Outcome(tried.executions)


def _inputs(kept: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return kept inputs with some of their parts cut, doubled, replaced or repeated; and any bytes.

    Few draws, since these take longer than most targets: one text of bytes says all that is to be changed.
    """

    def changed(number: int, changes: bytes) -> bytes:
        return _changed(kept, kept[number], Choices(changes))

    return st.one_of(
        st.builds(changed, st.integers(0, len(kept) - 1), st.binary(max_size=80)), st.binary(max_size=300)
    )  # fmt: skip


#: What parsers trip over.
_TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (
        *"\0\t\n\r \"'\\{}[]<>:,;=-#%/~\x1b\x7f\x85\u2028\ufeff\U0001f4e7\ud800",
        "../", "/etc/passwd", "null", "true", "-1", "1e999", "0" * 30, "9" * 30, "NaN", '"__proto__":', "\\u0000",
        "\\ud800", "[[", '{"a":', "[main]\n", "\\\n", "{time}", "{type}", "2026-11-22-215525", "*/0", "0-0", "\xff\xfe",
    )
)  # fmt: skip


def _changed(kept: Sequence[bytes], data: bytes, choices: Choices) -> bytes:
    for _ in range(choices.whole() % 8):
        place, length = choices.whole(2) % (len(data) + 1), choices.whole()
        times = choices.one((1, 1, 1, 1, 0, 2, 30, 20_000))
        piece = choices.one((choices.one(_TOKENS), choices.one(kept), choices.some()))
        room = max(0, _LONGEST - len(data)) // max(1, len(piece))
        data = data[:place] + piece * min(times, room) + data[place + length :]
    return data
