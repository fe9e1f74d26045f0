"""Rows of many files come in order of time, and files are read no sooner than they must be."""

from collections.abc import Iterator
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from worker.reading.order import Match, Source, by_time, in_runs


def matches(seconds: list[int], name: str = "") -> list[Match]:
    return [Match(second, f"{name}{number} {second}\r\n".encode()) for number, second in enumerate(seconds)]


@given(st.lists(st.integers(-5, 50), max_size=60), st.integers(1, 20))
def test_runs_are_sorted_and_keep_the_order_of_lines_of_the_same_second(seconds: list[int], run_lines: int) -> None:
    given_matches = matches(seconds)
    assert list(in_runs(iter(given_matches), run_lines)) == sorted(given_matches, key=lambda match: match.second)


@given(st.lists(st.lists(st.integers(0, 50), max_size=20), max_size=8))
def test_sources_become_one_sequence_in_which_files_keep_their_order(files: list[list[int]]) -> None:
    sources = [
        Source(min(seconds, default=0), iter(matches(seconds, f"{number}:"))) for number, seconds in enumerate(files)
    ]
    wanted = sorted(
        ((number, match) for number, seconds in enumerate(files) for match in matches(seconds, f"{number}:")),
        key=lambda each: (each[1].second, each[0]),
    )
    assert list(by_time(sources)) == wanted


def test_a_source_is_not_read_before_its_start_is_due() -> None:
    begun: list[int] = []

    def source(number: int) -> Iterator[Match]:
        begun.append(number)
        yield from matches([number * 10, number * 10 + 5])

    ordered = by_time(Source(number * 10, source(number)) for number in range(5))
    for expected in range(5):
        next(ordered)
        assert begun == list(range(min(expected // 2 + 1, 5)))


def test_many_lines_wait_on_disk_and_none_is_lost() -> None:
    seconds = list(range(50_000))
    Random(1).shuffle(seconds)
    assert [match.second for match in in_runs(iter(matches(seconds)), 999)] == list(range(50_000))
