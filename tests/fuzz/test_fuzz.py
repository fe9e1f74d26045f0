"""Each target for a short while, from the kept inputs on; for longer: `make fuzz`."""

import os
from pathlib import Path

import pytest

from tests.fuzz import by_hypothesis, watched
from tests.fuzz.corpus import FOLDER
from tests.fuzz.targets import TARGETS
from tests.fuzz.watched import Check, TooSlow, keep, limited, target_of

_SECONDS = float(os.environ.get("FUZZ_SECONDS", "3"))


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


def _raises_at_a_zero(data: bytes) -> None:
    if b"\0" in data[1:]:
        raise ValueError


def _hangs_at_a_quote(data: bytes) -> None:
    while b'"' in data:
        pass


@pytest.mark.parametrize(
    ("check", "error", "smallest"), [(_raises_at_a_zero, ValueError, 100), (_hangs_at_a_quote, TooSlow, 1 << 16)]
)
def test_what_raises_or_hangs_is_found_and_kept(
    check: Check, error: type[Exception], smallest: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TARGETS, "ids", check)
    monkeypatch.setattr(watched, "SECONDS", 0.05)
    outcome = by_hypothesis.run("ids", 60)
    assert isinstance(outcome.error, error)
    path = keep("ids", outcome.failing or b"")
    assert target_of(path) == "ids"
    with pytest.raises(error), limited():
        check(path.read_bytes())
    assert path.stat().st_size <= smallest
