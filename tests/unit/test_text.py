"""What others wrote is shown so that it cannot do anything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.commands.text import add_row, as_json, instant, show, table
from worker.printable import MOST, printable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b'{"rcpt":"a@b"}', '{"rcpt":"a@b"}'),
        ("grüße".encode(), "grüße"),
        (b"\x1b[31m\r\n\x00", "\\x1b[31m\\r\\n\\x00"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\u202eevil\u2028\x9b", "\\u202eevil\\u2028\\x9b"),
        ("\ud800", "\\ud800"),
        ("\u3164\u2066\U000e0041", "\\u3164\\u2066\\U000e0041"),
    ],
)
def test_what_is_not_printable_is_escaped(value: bytes | str, shown: str) -> None:
    assert printable(value) == shown


@given(st.binary())
def test_whatever_the_bytes_are_what_is_shown_is_one_printable_line(value: bytes) -> None:
    assert printable(value).isprintable()


@given(st.binary() | st.text(), st.integers(2, 40))
def test_a_message_is_never_longer_than_its_bound(value: bytes | str, most: int) -> None:
    shown = printable(value, most)
    assert len(shown) <= most
    assert shown.isprintable()


def test_a_message_of_just_the_bound_is_not_cut() -> None:
    assert printable("x" * MOST, MOST) == "x" * MOST
    assert printable("x" * (MOST + 1), MOST) == "x" * (MOST - 1) + "…"


@given(st.text())
def test_json_is_ascii_without_controls_and_means_the_same(value: str) -> None:
    text = as_json({"value": value})
    assert text.isascii()
    assert json.loads(text) == {"value": value}


def test_cells_are_no_markup_and_never_wrap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = table("a", "b")
    add_row(shown, "[red]x[/red] :smile:", "y" * 1_000)
    show(shown)
    *_, line = capsys.readouterr().out.splitlines()
    assert line.split("   ") == ["[red]x[/red] :smile:", "y" * 119 + "…"]


def test_instants_are_utc_and_may_be_missing_or_beyond_any_calendar() -> None:
    assert instant(2**64 - 1) == "18446744073709551615"
    assert (instant(1_795_373_309_671), instant(None)) == ("2026-11-22 18:48:29", "-")
