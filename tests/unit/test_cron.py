"""Cron expressions: as crontab(5) reads them, at instants that no clock change hides."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from worker import cron

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "parsed"),
    [
        ("0 0 * * *", "0 0 * * *"),
        ("  */15   6-22,23  1,15 JAN-Jun * ", "*/15 6-22,23 1,15 jan-jun *"),
        ("0 0 * * 0", "0 0 * * sun"),
        ("0 0 * * 7", "0 0 * * sun"),
        ("0 0 * * 1-5", "0 0 * * mon,tue,wed,thu,fri"),
        ("0 0 * * 5-7", "0 0 * * sun,fri,sat"),
        ("0 0 * * 0-6", "0 0 * * sun,mon,tue,wed,thu,fri,sat"),
        ("0 0 * * */2", "0 0 * * sun,tue,thu,sat"),
        ("0 0 * * 1-5/2", "0 0 * * mon,wed,fri"),
        ("0 0 * * Mon,wed-FRI,0", "0 0 * * sun,mon,wed,thu,fri"),
        ("0 0 * * fri-sun", "0 0 * * sun,fri,sat"),
        ("0 0 29 2 *", "0 0 29 2 *"),
    ],
)
def test_an_expression_is_read_as_crontab_reads_it(expression: str, parsed: str) -> None:
    assert cron.parse(expression) == parsed


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 * *", "expected five fields: minute, hour, day of the month"),
        ("@daily", "expected five fields"),
        ("0 0 * * * *", "expected five fields"),
        ("٣ 0 * * *", "expected five fields"),
        ("60 0 * * *", "another minute than '60'"),
        ("0 24 * * *", "another hour than '24'"),
        ("0 0 32 * *", "another day of the month than '32'"),
        ("0 0 0 * *", "another day of the month than '0'"),
        ("0 0 * 13 *", "another month than '13'"),
        ("0 0 * foo *", "another month than 'foo'"),
        ("x 0 * * *", "another minute than 'x'"),
        ("5-1 0 * * *", "another minute than '5-1'"),
        ("*/0 0 * * *", r"another minute than '\*/0'"),
        ("0 0 * * 8", "another day of the week than '8'"),
        ("0 0 * * 1-", "another day of the week than '1-'"),
        ("0 0 * * foo", "another day of the week than 'foo'"),
        ("0 0 * * 1-foo", "another day of the week than '1-foo': 'foo' is none of 0 to 7"),
        ("0 0 * * 5-1", "begins before it ends"),
        ("0 0 * * 1,,2", "another day of the week than '1,,2': '' is none"),
        ("0 0 1 * 1", "both together are ambiguous"),
        ("0 0 30 2 *", "never comes true"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_field(expression: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        cron.parse(expression)


@pytest.mark.parametrize(
    ("expression", "after", "instants"),
    [
        pytest.param("0 0 * * *", "2026-05-01T12:00", ["2026-05-01T22:00", "2026-05-02T22:00"], id="midnight there"),
        pytest.param("0 0 * * *", "2026-05-01T22:00", ["2026-05-02T22:00"], id="strictly later"),
        pytest.param("0 0 * * *", "2026-05-01T21:59:59.999", ["2026-05-01T22:00"], id="a millisecond before"),
        pytest.param("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:30", "2026-03-30T00:30"], id="skipped"),
        pytest.param(
            "30 2 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-26T01:30"],
            id="repeated",
        ),
        pytest.param("0 * * * *", "2026-10-24T23:30", ["2026-10-25T00:00", "2026-10-25T01:00"], id="hourly in autumn"),
        pytest.param("0 0 * * 1", "2026-11-22T12:00", ["2026-11-22T23:00", "2026-11-29T23:00"], id="Mondays"),
        pytest.param("0 0 * * 0", "2026-11-22T12:00", ["2026-11-28T23:00"], id="Sundays"),
    ],
)  # fmt: skip
def test_the_next_instants_are_those_of_the_zone(expression: str, after: str, instants: list[str]) -> None:
    found: datetime | None = utc(after)
    for instant in instants:
        assert found is not None
        found = cron.next_instant(cron.parse(expression), BERLIN, found)
        assert found == utc(instant)


@hypothesis(derandomize=True, database=None, deadline=None, max_examples=200)
@given(text=st.text(alphabet="0123456789*/,- monsujafeb", max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = cron.parse(text)
    except ValueError:
        return
    assert cron.parse(parsed) == parsed
