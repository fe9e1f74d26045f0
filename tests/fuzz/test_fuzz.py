"""Each target for a short while, from the kept inputs on; for longer: `make fuzz`."""

import os

import pytest

from tests.fuzz import by_hypothesis
from tests.fuzz.corpus import FOLDER
from tests.fuzz.targets import TARGETS
from tests.fuzz.watched import keep

_SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))


@pytest.mark.timeout(_SECONDS + 300)
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_does_what_it_must_not(target: str) -> None:
    outcome = by_hypothesis.run(target, _SECONDS)
    if outcome.error is not None:
        path = keep(target, outcome.failing or b"")
        pytest.fail(f"{outcome.error!r}; once more: python -m tests.fuzz again {path}")
    assert outcome.executions > len(list((FOLDER / target).iterdir()))


def test_the_kept_inputs_are_small_and_of_the_targets() -> None:
    kept = list(FOLDER.glob("*/*"))
    assert {path.parent.name for path in kept} == set(TARGETS)
    assert sum(path.stat().st_size for path in kept) < 100_000
