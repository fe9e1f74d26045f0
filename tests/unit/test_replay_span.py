"""What people call the ends of a range, and the ids that this means."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.records import id_order
from worker.replay.span import Span, before, end_of, instant_of, is_id, start_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 19, 0, 0, tzinfo=UTC)
LARGEST = 2**64 - 1


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("-", "0-0", "0-0"),
        ("+", f"{LARGEST}-{LARGEST}", f"{LARGEST}-{LARGEST}"),
        ("1795373309671-0", "1795373309671-0", "1795373309671-0"),
        ("007-08", "7-8", "7-8"),
        ("(5-7", "5-8", "5-6"),
        ("(5-0", "5-1", f"4-{LARGEST}"),
        (f"(5-{LARGEST}", "6-0", f"5-{LARGEST - 1}"),
        ("2026-11-22", "1795302000000-0", f"1795301999999-{LARGEST}"),
        ("2026-11-22T19:48", "1795373280000-0", f"1795373279999-{LARGEST}"),
        ("2026-11-22 19:48:29.671", "1795373309671-0", f"1795373309670-{LARGEST}"),
        ("2026-11-22t18:48:29z", "1795373309000-0", f"1795373308999-{LARGEST}"),
        ("2026-11-22T20:48:29+0200", "1795373309000-0", f"1795373308999-{LARGEST}"),
        ("2h", "1795366800000-0", f"1795366799999-{LARGEST}"),
        ("999999999w", "0-0", "0-0"),
        ("1960-01-01", "0-0", "0-0"),
        ("0001-01-01T00:00+23:59", "0-0", "0-0"),
    ],
)
def test_times_and_ids_name_a_place_in_the_stream(text: str, start: str, end: str) -> None:
    assert (start_of(text, BERLIN, NOW), end_of(text, BERLIN, NOW)) == (start, end)


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026-13-01", "2026-11-22T25:00", "2026-11-22T10", "20261122", "1795373309671", "5-", "-5",
        "2y", "18446744073709551616-0", "5-18446744073709551616", "\N{ARABIC-INDIC DIGIT THREE}-0", "5-0\n",
        "2026-11-22\n", "(2026-11-22", "(-",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    for parse in (start_of, end_of):
        with pytest.raises(ValueError, match="expected a time such as 2026-11-22T10:00"):
            parse(text, BERLIN, NOW)


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_the_id_before_another_is_the_next_smaller_one(milliseconds: int, sequence: int) -> None:
    entry_id = f"{milliseconds}-{sequence}"
    order = id_order(before(entry_id))
    assert is_id(before(entry_id))
    assert order[0] * 2**64 + order[1] == max(0, milliseconds * 2**64 + sequence - 1)


@given(st.integers(0, LARGEST))
def test_an_instant_can_be_told_of_every_id(milliseconds: int) -> None:
    for zone in (UTC, BERLIN, ZoneInfo("Pacific/Kiritimati")):
        assert len(f"{instant_of(f'{milliseconds}-5', zone):%Y-%m-%d-%H%M%S}") == len("1970-01-01-000000")


def test_a_span_holds_both_its_ends_and_ids_are_compared_as_numbers() -> None:
    span = Span("9-0", "10-5")
    assert [span.holds(each) for each in ("8-9", "9-0", "10-0", "10-5", "10-6")] == [False, True, True, True, False]
    assert (span.is_empty, Span("10-0", "9-0").is_empty) == (False, True)
