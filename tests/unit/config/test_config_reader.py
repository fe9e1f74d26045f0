"""The reader of the ini: Haraka's dialect, line numbers, and texts of any kind."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.ini import Entry, Section, Stray, read

TEXTS = st.text() | st.text(alphabet=st.sampled_from("a=[];#\\ \t\r\n\x0b\x85\u2028\ufeffé"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\ufeff", []),
        ("\n \n\t\r\n", []),
        ("; a=1\n# b=2\n  ; c=3\n\t# d", []),
        ("a=1", [Entry(1, "main", "a", "1")]),
        ("\ufeffa=1", [Entry(1, "main", "a", "1")]),
        ("  a  =  1  ", [Entry(1, "main", "a", "1")]),
        ("a=", [Entry(1, "main", "a", "")]),
        ("a=1;2 # 3", [Entry(1, "main", "a", "1;2 # 3")]),
        ("a=b=c", [Entry(1, "main", "a", "b=c")]),
        ("separator=;", [Entry(1, "main", "separator", ";")]),
        ("separator=\t", [Entry(1, "main", "separator", "\t")]),
        ("separator = \t ", [Entry(1, "main", "separator", "\t")]),
        ("separator=   ", [Entry(1, "main", "separator", "")]),
        ("a=1\r\n[s]\r\nb=2\r\n", [Entry(1, "main", "a", "1"), Section(2, "s"), Entry(3, "s", "b", "2")]),
        ("a=1\rb=2", [Entry(1, "main", "a", "1"), Entry(2, "main", "b", "2")]),
        (" [ s ] \na=1", [Section(1, "s"), Entry(2, "s", "a", "1")]),
        ("[s]\n[main]\na=1", [Section(1, "s"), Section(2, "main"), Entry(3, "main", "a", "1")]),
        ("a=1\x0bb\u2028c\x85d\ne=2", [Entry(1, "main", "a", "1\x0bb\u2028c\x85d"), Entry(2, "main", "e", "2")]),
        ("a=1,\\\n  2,\\\n; no\n3\nb=4", [Entry(1, "main", "a", "1,  2,3"), Entry(5, "main", "b", "4")]),
        ("a=1\\\n[s]\nb=2", [Entry(1, "main", "a", "1"), Section(2, "s"), Entry(3, "s", "b", "2")]),
        ("a=1\\", [Entry(1, "main", "a", "1")]),
        (r"a=\t", [Entry(1, "main", "a", r"\t")]),
        ("junk\n=1\n[s\n[s] x", [Stray(1, "junk"), Stray(2, "=1"), Stray(3, "[s"), Stray(4, "[s] x")]),
    ],
)
def test_lines_are_read_as_haraka_reads_them(text: str, expected: list[Section | Entry | Stray]) -> None:
    assert list(read(text)) == expected


@given(TEXTS)
def test_any_text_is_read_and_every_item_stands_on_a_line_of_it(text: str) -> None:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbers = [item.line for item in read(text)]
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= len(lines) and lines[number - 1].strip() for number in numbers)


WORDS = st.text(string.ascii_lowercase, min_size=1)
VALUES = st.text(string.printable.replace("\r", "").replace("\n", "")).map(str.strip).filter(lambda v: v[-1:] != "\\")


@given(st.lists(st.tuples(WORDS, WORDS, VALUES)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_written_as_settings_reads_back(settings: list[tuple[str, str, str]], end: str) -> None:
    text = end.join(f"[{section}]{end}{key} = {value}" for section, key, value in settings)
    entries = [item for item in read(text) if isinstance(item, Entry)]
    assert [(entry.section, entry.key, entry.value) for entry in entries] == settings
    assert [entry.line for entry in entries] == [2 * index for index in range(1, len(settings) + 1)]
