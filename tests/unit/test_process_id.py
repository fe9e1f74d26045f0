"""Who holds something is told by the server, and so by anybody who can write there."""

import pytest

from worker.process_id import is_gone, mine


def test_a_process_that_lives_is_not_gone_and_one_of_its_number_that_began_earlier_is() -> None:
    machine, number, started = mine().split(" ")
    assert not is_gone(f"{machine} {number} {started}")
    assert is_gone(f"{machine} {number} 1")


@pytest.mark.parametrize("number", ["", "x", "-1", "1e3", "\u0663", "9" * 5000, "9" * 15])
def test_what_is_no_number_of_a_process_tells_of_none_that_is_gone(number: str) -> None:
    machine, *_ = mine().split(" ")
    assert not is_gone(f"{machine} {number} 1")
