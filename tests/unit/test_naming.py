"""Names of accounting files: they parse back, none comes twice, and their order is that in which they were given."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from config import naming as accepted
from schemas.events import TYPES
from worker.naming import Names, Stamp, next_stamp
from worker.settings import NameSettings

TEMPLATE = "{type}.{time}.{extension}"
NOON = datetime(2026, 9, 28, 12, tzinfo=UTC)

quiet = settings(derandomize=True, database=None, deadline=None)
instants = st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
stamps = st.builds(
    lambda instant, suffix: Stamp(next_stamp(None, instant).time, suffix), instants, st.integers(0, 10**6)
)
consumers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,30}", fullmatch=True)
extensions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)


def names(
    template: str = TEMPLATE, event_type: str = "bounce", consumer: str = "mx1-1", extension: str = "tsv"
) -> Names:
    return Names(NameSettings(template=template, extension=extension, timezone=UTC), event_type, consumer)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Draw a template that the configuration accepts, each placeholder at most once."""
    placeholders = draw(st.permutations(["{time}", "{type}", "{consumer}", "{extension}"]))
    chosen = placeholders[: draw(st.integers(1, 4))]
    signs = st.sampled_from(["", ".", "-", "_", "+", "1", "a.", "=x~"])
    template = draw(signs) + "".join(placeholder + draw(signs) for placeholder in chosen)
    try:
        return accepted.template(template)
    except ValueError:
        assume(condition=False)
        raise


@pytest.mark.parametrize(
    ("event_type", "name"),
    [
        ("delivered", "d.2026-09-28-120000.tsv"),
        ("deferred", "df.2026-09-28-120000.tsv"),
        ("bounce", "b.2026-09-28-120000.tsv"),
    ],
)
def test_default_name_is_type_time_and_extension(event_type: str, name: str) -> None:
    assert names(event_type=event_type).format(next_stamp(None, NOON)) == name


def test_template_places_the_consumer_and_the_suffix_stands_at_the_time() -> None:
    given_name = names("{consumer}/{type}.{time}.{extension}").format(Stamp("2026-09-28-120000", 3))
    assert given_name == "mx1-1/b.2026-09-28-120000-3.tsv"


@quiet
@given(templates(), st.sampled_from(TYPES), consumers, extensions, stamps)
def test_name_of_any_accepted_template_parses_back(
    template: str, event_type: str, consumer: str, extension: str, stamp: Stamp
) -> None:
    made = names(template, event_type, consumer, extension)
    assert made.parse(made.format(stamp)) == stamp


@quiet
@given(stamps)
def test_stamp_parses_back(stamp: Stamp) -> None:
    assert Stamp.parse(str(stamp)) == stamp


@quiet
@given(consumers, consumers, stamps)
def test_name_that_another_worker_gave_out_is_recognized(mine: str, other: str, stamp: Stamp) -> None:
    template = "{consumer}.{type}.{time}.{extension}"
    assert names(template, consumer=mine).parse(names(template, consumer=other).format(stamp)) == stamp


@pytest.mark.parametrize(
    "name",
    [
        "",
        "b.tsv",
        "d.2026-09-28-120000.tsv",
        "df.2026-09-28-120000.tsv",
        "B.2026-09-28-120000.tsv",
        "b.2026-09-28-120000.csv",
        "b.2026-09-28-120000",
        "b.2026-09-28-120000xtsv",
        "b.2026-09-28-12000.tsv",
        "b.2026-09-28-1200000.tsv",
        "b.2026-09-28 120000.tsv",
        "b.2026-09-28-120000-.tsv",
        "b.2026-09-28-120000-0.tsv",
        "b.2026-09-28-120000-01.tsv",
        "b.2026-09-28-120000--1.tsv",
        "b.2026-09-28-120000-1-1.tsv",
        "b.2026-09-28-120000.tsv.json",
        "b.2026-09-28-120000.tsv.gz",
        "b.2026-09-28-120000.tsv\n",
        ".b.2026-09-28-120000.tsv",
        "archive",
        "b.\u0662\u0660\u0662\u0666-09-28-120000.tsv",
        "b.2026-09-28-120000-" + "9" * 5000 + ".tsv",
    ],
)
def test_foreign_name_has_no_stamp(name: str) -> None:
    assert names().parse(name) is None


def test_dots_of_an_extension_and_signs_of_a_template_stand_for_themselves() -> None:
    made = names("{type}+{time}.{extension}", extension="t.v")
    assert made.parse("b+2026-09-28-120000.t.v") == Stamp("2026-09-28-120000")
    assert made.parse("b+2026-09-28-120000.txv") is None
    assert made.parse("bb2026-09-28-120000.t.v") is None


@pytest.mark.parametrize("text", ["", "2026-09-28", "2026-09-28-120000-0", "x2026-09-28-120000", "2026-09-28-120000\n"])
def test_text_that_is_no_stamp_is_none(text: str) -> None:
    assert Stamp.parse(text) is None


@pytest.mark.parametrize(("earlier", "later"), [(0, 1), (1, 2), (2, 10), (9, 10), (99, 100)])
def test_suffixes_are_ordered_as_numbers(earlier: int, later: int) -> None:
    time = "2026-09-28-120000"
    assert Stamp(time, earlier) < Stamp(time, later) < Stamp("2026-09-28-120001")


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (None, NOON, "2026-09-28-120000"),
        ("2026-09-28-115959", NOON, "2026-09-28-120000"),
        ("2026-09-28-115959-7", NOON, "2026-09-28-120000"),
        ("2026-09-28-120000", NOON, "2026-09-28-120000-1"),
        ("2026-09-28-120000", NOON + timedelta(milliseconds=999), "2026-09-28-120000-1"),
        ("2026-09-28-120000-9", NOON, "2026-09-28-120000-10"),
        ("2027-01-01-000000", NOON, "2027-01-01-000000-1"),  # the clock went back
        ("2027-01-01-000000-1", NOON, "2027-01-01-000000-2"),
    ],
)
def test_next_stamp_follows_the_clock_or_else_the_last_one(last: str | None, now: datetime, expected: str) -> None:
    assert str(next_stamp(Stamp.parse(last) if last else None, now)) == expected


def test_autumn_hour_gives_no_stamp_twice() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    last: Stamp | None = None
    seen = []
    for minutes in range(0, 240, 10):
        last = next_stamp(last, (start + timedelta(minutes=minutes)).astimezone(berlin))
        seen.append(last)
    assert seen == sorted(set(seen))
    assert str(seen[-1]) == "2026-10-25-045000"


@quiet
@given(st.lists(st.one_of(instants, st.sampled_from([NOON, NOON - timedelta(seconds=1)])), max_size=40))
def test_no_stamp_comes_twice_and_each_sorts_after_the_last_whatever_the_clock_says(readings: list[datetime]) -> None:
    last: Stamp | None = None
    seen = []
    for now in readings:
        last = next_stamp(last, now)
        seen.append(last)
    assert all(earlier < later for earlier, later in pairwise(seen))
    formatted = [names().format(stamp) for stamp in seen]
    assert len(set(formatted)) == len(seen)
    assert sorted(formatted, key=lambda name: names().parse(name) or Stamp("")) == formatted
