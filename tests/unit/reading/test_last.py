"""The last rows are the latest by time of those written last, whatever form the files are in."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.support.events import make_event
from tests.support.sealed import TSV, seal
from worker.inventory import Place
from worker.reading.criteria import Criteria, Criterion
from worker.reading.last import last_rows, offset_of_last
from worker.reading.search import Found, Search, Span, list_files


def files_in(path: Path) -> list[Found]:
    return list_files([Place(name, path / name, path / name / "archive") for name in TYPES], [], [], [])


def seal_seconds(path: Path, event_type: str, seconds: Sequence[int], ending: str = "") -> None:
    events = [make_event(event_type, second * 1000, jobId=f"{event_type}-{second}") for second in seconds]
    seal(path, event_type, events, ending=ending)


def jobs(files: Sequence[Found], count: int, *criteria: Criterion) -> list[str]:
    search = Search(Criteria(criteria), Span(), TSV)
    return [
        search.row(found, match).values["jobId"]
        for found, match in last_rows(search, files, count, filtered=bool(criteria))
    ]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_last_rows_of_several_files_are_in_order_of_time(tmp_path: Path, ending: str) -> None:
    seal_seconds(tmp_path / "bounce/b.1", "bounce", range(10), ending)
    seal_seconds(tmp_path / "bounce/archive/b.2", "bounce", range(10, 20, 2), ending)
    seal_seconds(tmp_path / "delivered/d.1", "delivered", range(11, 20, 2), ending)
    files = files_in(tmp_path)
    every = [f"bounce-{n}" for n in range(10)] + [
        f"{'delivered' if n % 2 else 'bounce'}-{n}" for n in range(10, 20)
    ]  # fmt: skip
    for count in (0, 1, 2, 3, 10, 11, 20, 99):
        assert jobs(files, count) == (every[-count:] if count else [])
    assert jobs(files, 2, Criterion("type", "b")) == ["bounce-16", "bounce-18"]
    assert jobs(files, 3, Criterion("jobId", "bounce-3")) == ["bounce-3"]


def test_files_that_end_before_the_last_rows_are_not_opened(tmp_path: Path) -> None:
    seal_seconds(tmp_path / "bounce/b.1", "bounce", range(10))
    seal_seconds(tmp_path / "bounce/b.2", "bounce", range(10, 20))
    files = files_in(tmp_path)
    (tmp_path / "bounce/b.1").unlink()
    search = Search(Criteria(()), Span(), TSV)
    assert len(last_rows(search, files, 10, filtered=False)) == 10
    assert not search.troubles
    last_rows(search, files, 11, filtered=False)
    assert search.troubles == {"not here any more": [tmp_path / "bounce/b.1"]}


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_the_last_lines_of_a_large_file_are_found_from_its_end(tmp_path: Path, ending: str) -> None:
    path = seal(tmp_path / "bounce/b.1", "bounce", [make_event("bounce", n) for n in range(30_000)], ending=ending)
    [found] = files_in(tmp_path)
    content = seal(tmp_path / "plain", "bounce", [make_event("bounce", n) for n in range(30_000)]).read_bytes()
    assert path.exists()
    lines = content.splitlines(keepends=True)
    for count in (1, 2, 1000, 29_999, 30_000):
        assert offset_of_last(found, count) == len(content) - sum(map(len, lines[-count:]))
    assert offset_of_last(found, 30_001) == 0
    assert offset_of_last(found, 90_000) == 0
