"""The content of a file as whole lines, whatever somebody put in its place."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import pytest

from tests.support.events import make_event
from tests.support.sealed import TSV, seal
from worker.inventory import Place
from worker.reading.content import blocks
from worker.reading.criteria import Criteria, Criterion
from worker.reading.search import Search, Span, list_files
from worker.regular import LONGEST_LINE_BYTES


@pytest.mark.parametrize(
    ("content", "length", "whole"),
    [
        (b"a\nb\n", 4, b"a\nb\n"),
        (b"a\nb\n", 3, b"a\n"),
        (b"x" * (3 << 20) + b"\n" + b"y" * 10, (3 << 20) + 11, b"x" * (3 << 20) + b"\n"),
        (b"", 0, b""),
    ],
)
def test_whole_lines_are_given_up_to_a_length(content: bytes, length: int, whole: bytes) -> None:
    assert b"".join(blocks(io.BytesIO(content), 0, length)) == whole


def test_what_is_shorter_than_it_should_be_is_told() -> None:
    with pytest.raises(EOFError, match="3 bytes shorter"):
        list(blocks(io.BytesIO(b"a\n"), 0, 5))


class Endless(io.RawIOBase):
    """A content of one line without an end."""

    def read(self, size: int = -1) -> bytes:
        return b"x" * size


def test_a_line_without_an_end_is_given_up_after_a_bounded_number_of_bytes() -> None:
    with pytest.raises(EOFError, match="the line at byte 0 has more than"):
        list(blocks(cast("IO[bytes]", Endless()), 0, 1 << 60))


def found(path: Path) -> tuple[Sequence[str], Search]:
    place = Place("bounce", path, path / "archive")
    search = Search(Criteria((Criterion("jobId", "J"),)), Span(), TSV)
    files = list_files([place], [], [], [])
    return [row.values["jobId"] for row in search.rows([(file, 0) for file in files])], search


def test_a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("b.2026-01-01-000000.tsv", "b.2026-01-01-000001.tsv"):
        seal(tmp_path / name, "bounce", [make_event("bounce", 1, jobId="J")])
    (tmp_path / "b.2026-01-01-000000.tsv").unlink()
    os.mkfifo(tmp_path / "b.2026-01-01-000000.tsv")
    rows, search = found(tmp_path)
    assert (rows, search.is_whole) == (["J"], False)
    assert ["no file" in why for why in search.troubles] == [True]


LONG = b"x" * (LONGEST_LINE_BYTES + (1 << 20))


@pytest.mark.parametrize(
    ("content", "whole", "long"),
    [
        (b"a\n" + LONG + b"\nb\n", b"a\nb\n", [2]),
        (LONG + b"\n", b"", [0]),
        (b"a\nb\n" + LONG, b"a\nb\n", [4]),
        (LONG + b"\n" + LONG + b"\nc\n", b"c\n", [0, len(LONG) + 1]),
        (b"y" * LONGEST_LINE_BYTES + b"\nc\n", b"y" * LONGEST_LINE_BYTES + b"\nc\n", []),
    ],
    ids=["between others", "alone", "torn", "two", "at the bound"],
)
def test_a_line_longer_than_any_row_is_left_out_and_those_around_it_are_not(
    content: bytes, whole: bytes, long: list[int]
) -> None:
    found: list[int] = []
    assert b"".join(blocks(io.BytesIO(content), 0, len(content), found)) == whole
    assert found == long
