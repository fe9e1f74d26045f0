"""The files of a replay: the same however its entries arrive."""

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import encode, make_event
from tests.support.workers import changed, settings
from worker.decode import RawEntry
from worker.errors import DiskTrouble, Locked
from worker.replay.job import Replay
from worker.replay.output import Different, target
from worker.replay.sources import Page
from worker.settings import Format


def entry(number: int) -> RawEntry:
    """Return entry number `number`, of one to three events, ten milliseconds after the one before."""
    strange = {5: 'a"b', 6: "tab\t, comma", 7: "l\u2028ine"}.get(number % 9, f"JOB-{number}")
    events = [make_event("bounce", number, jobId=strange)] * (1 + number % 3)
    return f"{1795373309671 + 10 * number}-0".encode(), [b"events", encode(events)]


ENTRIES = [entry(number) for number in range(40)]
MANY = [entry(number) for number in range(600)]  # more than are rendered at once


class Cut:
    """The entries, in pages that end at these places."""

    total = None

    def __init__(self, cuts: set[int], entries: list[RawEntry]) -> None:
        self._entries = entries
        self._places = sorted({0, len(entries), *cuts})

    def pages(self) -> Iterator[Page]:
        for start, end in pairwise(self._places):
            yield Page("bounce", self._entries[start:end], end)


def replay(
    into: Path, cuts: set[int], layout: Format = Format.TSV, entries: list[RawEntry] = ENTRIES, full_bytes: int = 1500
) -> Replay:
    small = changed(settings(into / "live"), "rotation", max_size_bytes=full_bytes)
    separator = "," if layout is Format.CSV else "\t"
    job = Replay(changed(small, "rows", format=layout, separator=separator), into)
    assert list(job.run(Cut(cuts, entries)))
    return job


def digests(into: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in into.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[Format, dict[str, str]]:
    """Return the digests of what comes of one page, by format."""
    places = {layout: tmp_path_factory.mktemp(layout) for layout in Format}
    for layout, into in places.items():
        replay(into, set(), layout)
    return {layout: digests(into) for layout, into in places.items()}


@pytest.fixture
def whole(wholes: dict[Format, dict[str, str]]) -> dict[str, str]:
    return wholes[Format.TSV]


@hypothesis.settings(max_examples=40, deadline=None)
@given(cuts=st.sets(st.integers(1, len(ENTRIES) - 1)), layout=st.sampled_from(Format))
def test_pages_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, wholes: dict[Format, dict[str, str]], cuts: set[int], layout: Format
) -> None:
    into = tmp_path_factory.mktemp("cut")
    replay(into, cuts, layout)
    assert digests(into) == wholes[layout]
    assert len(wholes[layout]) > 10


@pytest.mark.parametrize("full_bytes", [1500, 40_000])
def test_large_pages_and_pages_of_one_entry_give_the_same_files(tmp_path: Path, full_bytes: int) -> None:
    replay(tmp_path / "large", set(), entries=MANY, full_bytes=full_bytes)
    replay(tmp_path / "single", set(range(len(MANY))), entries=MANY, full_bytes=full_bytes)
    assert digests(tmp_path / "large") == digests(tmp_path / "single")
    assert len(digests(tmp_path / "large")) > 6


def test_more_rows_than_one_call_writes_are_written_by_several(
    tmp_path: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr("worker.replay.output._WRITTEN_BYTES", 100)
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5000]))
    replay(tmp_path, set())
    assert digests(tmp_path) == whole


def test_files_of_one_second_are_told_apart_by_a_suffix(whole: dict[str, str]) -> None:
    assert {"b.2026-11-22-184829.tsv", "b.2026-11-22-184829.tsv.json"} <= whole.keys()
    assert any("-1.tsv" in name for name in whole)


def test_a_full_disk_leaves_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = os.write, [6]

    def write(descriptor: int, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(DiskTrouble, match="No space left"):
        replay(tmp_path, set(range(1, 40)))
    monkeypatch.undo()
    before = digests(tmp_path)
    assert not any(name.startswith(".") for name in before)
    replay(tmp_path, set())
    assert before.items() <= digests(tmp_path).items()


class Killed(BaseException):
    """The process is dead."""


def test_after_a_death_at_any_operation_the_next_run_gives_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    few = ENTRIES[:12]  # of two files
    replay(into := tmp_path_factory.mktemp("few"), set(), entries=few)
    whole = digests(into)
    assert len(whole) == 4
    operations = ("open", "write", "fsync", "fchmod", "link", "unlink", "close", "mkdir")

    def run_until(last: int, into: Path) -> bool:
        """Replay, and die before operation number `last`; False where it ended before."""
        done = 0

        def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
            def operation(*arguments: Any, **options: Any) -> Any:
                nonlocal done
                done += 1
                if done >= last:
                    raise Killed
                return real(*arguments, **options)

            return operation

        with pytest.MonkeyPatch.context() as patch:
            for name in operations:
                patch.setattr(os, name, mortal(getattr(os, name)))
            try:
                replay(into, set(), entries=few)
            except Killed:
                return True
        return False

    deaths = 0
    while True:
        into = tmp_path_factory.mktemp("killed")
        if not run_until(deaths + 1, into):
            break
        deaths += 1
        finished = {name: digest for name, digest in digests(into).items() if not name.startswith(".")}
        assert finished.items() <= whole.items(), f"death before operation {deaths}"
        replay(into, set(), entries=few)
        assert digests(into) == whole, f"death before operation {deaths}"
    assert deaths > 30


@pytest.mark.parametrize("strange", ["directory", "link", "other content", "longer"])
def test_a_taken_name_is_never_replaced(tmp_path: Path, strange: str) -> None:
    place = tmp_path / "bounce" / "archive" / "b.2026-11-22-184829.tsv"
    place.parent.mkdir(parents=True)
    match strange:
        case "directory":
            place.mkdir()
        case "link":
            place.symlink_to(tmp_path / "elsewhere")
        case _:
            place.write_text("x" * (9000 if strange == "longer" else 5))
    before = place.lstat()
    with pytest.raises(Different, match=place.name):
        replay(tmp_path, set())
    assert place.lstat() == before
    assert list(place.parent.iterdir()) == [place]


def test_one_replay_at_a_time_writes_into_a_directory_and_leaves_no_lock_in_it(tmp_path: Path) -> None:
    with target(tmp_path / "a" / "b"), pytest.raises(Locked), target(tmp_path / "a" / "b"):
        raise AssertionError
    with target(tmp_path / "a" / "b"):
        pass
    assert list((tmp_path / "a").rglob("*")) == [tmp_path / "a" / "b"]
