"""Two short chaos runs with fixed seeds; `make chaos` does a long one."""

from pathlib import Path

import pytest

from tests.chaos.operators import Deed
from tests.chaos.run import Settings, run


@pytest.mark.timeout(600)  # each wait has its own patience
def test_half_a_minute_of_kills_stalls_cuts_and_restarts_leaves_every_row_exactly_once(tmp_path: Path) -> None:
    settings = Settings(seed=20261122, seconds=15, events=51_000, workers=3, actions=36)
    report = run(settings, tmp_path, lambda _: None)
    assert report.differences == []
    assert report.published >= 50_000
    assert report.kills >= 8
    assert report.stalls >= 3
    assert report.server_restarts >= 2
    assert report.cuts >= 5
    assert report.found.sealed > len(report.found.by_directory)
    assert report.audits >= 5


@pytest.mark.timeout(600)
def test_what_operators_do_meanwhile_leaves_every_row_exactly_once_but_those_that_they_cut_off(tmp_path: Path) -> None:
    settings = Settings(seed=20261201, seconds=15, events=15_000, workers=3, actions=15, deeds=12)
    report = run(settings, tmp_path, lambda _: None)
    assert report.differences == []
    assert report.published >= 15_000
    assert report.found.losses >= 1
    assert report.rings >= 1
    assert sum(report.happened[deed] for deed in Deed) >= 6  # one that finds nothing to be done to is given up
