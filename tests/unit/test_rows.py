"""Rows, with tables: cells and their order, headers, formats, numbers and times."""

import json
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalogue import DEFAULT_COLUMNS
from schemas.events import TYPES
from tests.unit.events import (
    ALL_COLUMNS,
    CUSTOM,
    NOON_MS,
    Batch,
    Event,
    batches,
    event,
    payload,
    render,
    render_one,
    row_settings,
    written,
)
from worker.rows import Clock, Rows, header, number
from worker.settings import Format

BERLIN = ZoneInfo("Europe/Berlin")
FORMATS = [(Format.TSV, "\t"), (Format.CSV, ","), (Format.ORIGINAL, "\t"), (Format.ORIGINAL, ";")]


@pytest.mark.parametrize(
    ("layout", "separator", "line"),
    [
        (Format.TSV, "\t", b"type\trcpt\n"),
        (Format.TSV, ";", b"type;rcpt\n"),
        (Format.CSV, ",", b"type,rcpt\n"),
        (Format.ORIGINAL, "\t", b"type\trcpt\t\r\n"),
        (Format.ORIGINAL, ";", b"type;rcpt;\r\n"),
        (Format.JSONL, "\t", b""),
    ],
)
def test_header_names_the_columns_in_the_layout_of_the_format(layout: Format, separator: str, line: bytes) -> None:
    configured = row_settings(["type", "rcpt"], layout=layout, separator=separator)
    assert header(["type", "rcpt"], configured) == line
    assert Rows("bounce", configured).header == line


@pytest.mark.parametrize(
    ("layout", "separator", "line"),
    [
        (Format.TSV, "\t", b"df\ta@example.com\t-\n"),
        (Format.CSV, ",", b"df,a@example.com,-\n"),
        (Format.ORIGINAL, "\t", b"df\ta@example.com\t - \t\r\n"),
        (Format.ORIGINAL, ";", b"df;a@example.com; - ;\r\n"),
        (Format.JSONL, "\t", b'{"type":"df","rcpt":"a@example.com","vmta":null}\n'),
    ],
)
def test_row_has_the_layout_of_the_format(layout: Format, separator: str, line: bytes) -> None:
    configured = row_settings(["type", "rcpt", "vmta"], layout=layout, separator=separator)
    assert render("deferred", configured, [(b"1-0", payload(event("deferred")))]) == line


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("a,b", '"a,b"'),
        ("a;b", "a;b"),
        ('say "hi"', '"say ""hi"""'),
        ('"', '""""'),
        ("a\nb", "a b"),
        ("a,\r\nb", '"a,  b"'),
    ],
)
@pytest.mark.parametrize("layout", [Format.TSV, Format.CSV, Format.ORIGINAL])
def test_value_with_the_separator_or_a_quote_is_quoted_as_in_rfc_4180(layout: Format, text: str, cell: str) -> None:
    configured = row_settings(["vmta"], layout=layout, separator=",")
    line = render("bounce", configured, [(b"1-0", payload(event("bounce", vmta=text)))]).decode()
    assert line == cell + (",\r\n" if layout is Format.ORIGINAL else "\n")


@pytest.mark.parametrize("text", ['say "hi"', "a,b", "back\\slash"])
def test_nothing_is_quoted_between_tabs(text: str) -> None:
    assert render_one(event("bounce", vmta=text), "vmta") == text


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize(("layout", "separator"), FORMATS)
def test_column_without_a_value_is_written_as_missing(event_type: str, layout: Format, separator: str) -> None:
    always = {"type", "timeLogged", "rcpt", "streamId", "eventId"}
    always |= {"dsnStatus", "dsnAction"} if event_type == "delivered" else set()
    columns = [column for column in ALL_COLUMNS if column not in always]
    configured = row_settings(columns, layout=layout, separator=separator)
    line = render(event_type, configured, [(b"1-0", payload(event(event_type)))]).decode()
    missing = " - " if layout is Format.ORIGINAL else "-"
    assert set(line.rstrip("\r\n").removesuffix(separator).split(separator)) == {missing}


@pytest.mark.parametrize("event_type", TYPES)
def test_missing_value_of_a_json_line_is_null(event_type: str) -> None:
    configured = row_settings(
        ["vmta", "delay", "dlvTls", "timeQueued", "totalSecondsQueued", "srcType", CUSTOM], layout=Format.JSONL
    )
    line = json.loads(render(event_type, configured, [(b"1-0", payload(event(event_type)))]))
    assert set(line.values()) == {None}


def test_numbers_and_booleans_of_a_json_line_are_not_texts() -> None:
    configured = row_settings(["attempts", "dlvTls", "totalSecondsQueued"], layout=Format.JSONL)
    one = event("delivered", attempts=2, dlvTls=False, timeQueued=NOON_MS - 1500)
    line = render("delivered", configured, [(b"1-0", payload(one))])
    assert line == b'{"attempts":2,"dlvTls":false,"totalSecondsQueued":1.5}\n'


@pytest.mark.parametrize(
    ("event_type", "line"),
    [
        ("delivered", "d|2026-09-28 12:00:00|-|a@example.com|h|1.2.3.4|v|J.1|2.0.0|ok"),
        ("deferred", "df|2026-09-28 12:00:00|-|a@example.com|h|1.2.3.4|v|J.1|4.2.0|busy|300"),
        ("bounce", "b|2026-09-28 12:00:00|-|a@example.com|h|1.2.3.4|v|J.1|5.1.1|no such user|bad-mailbox"),
    ],
)
def test_default_columns_are_those_of_the_old_plugin(event_type: str, line: str) -> None:
    own: dict[str, Event] = {
        "delivered": {"dsnMsg": "ok"},
        "deferred": {"delay": 300, "rcpts": [{"rcpt": "a@example.com", "dsnStatus": "4.2.0", "dsnMsg": "busy"}]},
        "bounce": {"rcpts": [{"rcpt": "a@example.com", "dsnStatus": "5.1.1", "dsnMsg": "no such user",
                              "bounceCat": "bad-mailbox"}]},
    }  # fmt: skip
    one = event(event_type, srcMta="h", srcIp="1.2.3.4", vmta="v", jobId="J.1", **own[event_type])
    configured = row_settings(DEFAULT_COLUMNS[event_type], separator="|")
    assert render(event_type, configured, [(b"1-0", payload(one))]).decode() == line + "\n"


def test_columns_stand_in_the_configured_order() -> None:
    one = event("bounce", vmta="v", jobId="J")
    entries = [(b"1-0", payload(one))]
    assert render("bounce", row_settings(["vmta", "type", "jobId"]), entries) == b"v\tb\tJ\n"
    assert render("bounce", row_settings(["jobId", "vmta", "type"]), entries) == b"J\tv\tb\n"


def test_each_recipient_of_each_event_of_each_entry_has_a_row_in_their_order() -> None:
    first = event("bounce", rcpts=[{"rcpt": "a", "dsnMsg": "x"}, {"rcpt": "b"}])
    entries = [
        (b"1-0", payload(first, event("bounce", rcpts=[{"rcpt": "c", "dsnMsg": "y"}]))),
        (b"2-5", payload(event("bounce", rcpts=[{"rcpt": "d"}]))),
    ]
    rows = render("bounce", row_settings(["streamId", "rcpt", "dsnMsg"]), entries)
    assert rows == b"1-0\ta\tx\n1-0\tb\t-\n1-0\tc\ty\n2-5\td\t-\n"


@pytest.mark.parametrize("column", ["custom_X-Campaign", "custom_x-campaign", "custom_X-CAMPAIGN"])
def test_custom_column_shows_the_header_whatever_its_case(column: str) -> None:
    assert render_one(event("bounce", custom={"x-campaign": "spring", "x-other": "no"}), column) == "spring"


@pytest.mark.parametrize("header_name", ["x-'", "x{}", "a)or(b", "#", "$%&'*+-.^_`|~!"])
def test_custom_column_of_an_odd_header_name_shows_that_header(header_name: str) -> None:
    one = event("bounce", custom={header_name: "value", "x": "no"})
    column = "custom_" + header_name
    assert render_one(one, column) == "value"
    in_json = render_one(one, column, row_settings([column], layout=Format.JSONL))
    assert json.loads(in_json) == {column: "value"}


def test_whole_number_of_a_json_line_has_no_fraction() -> None:
    configured = row_settings(["delay"], layout=Format.JSONL)
    assert render("deferred", configured, [(b"1-0", payload(event("deferred", delay=300.0)))]) == b'{"delay":300}\n'


def test_empty_custom_header_is_written_as_missing() -> None:
    assert render_one(event("bounce", custom={"x-campaign": ""}), CUSTOM) == "-"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (0, "0"),
        (300, "300"),
        (300.0, "300"),
        (0.5, "0.5"),
        (64.25, "64.25"),
        (1e15, "1000000000000000"),
        (10.0, "10"),
        (1e16, "1e16"),
    ],
)
def test_number_is_written_without_a_fraction_that_is_zero(value: float, cell: str) -> None:
    assert number(value) == cell
    assert render_one(event("deferred", delay=value), "delay") == cell


@pytest.mark.parametrize(
    ("queued", "cell"),
    [(NOON_MS, "0.000"), (NOON_MS - 1, "0.001"), (NOON_MS - 61_050, "61.050"), (NOON_MS + 7, "-0.007")],
)
def test_seconds_queued_have_three_decimals(queued: int, cell: str) -> None:
    assert render_one(event("bounce", timeQueued=queued), "totalSecondsQueued") == cell


@pytest.mark.parametrize(
    ("zone", "ms", "cell"),
    [
        (UTC, 0, "1970-01-01 00:00:00"),
        (UTC, 999, "1970-01-01 00:00:00"),
        (UTC, 1000, "1970-01-01 00:00:01"),
        (UTC, 253_370_764_799_999, "9998-12-31 23:59:59"),
        (timezone(timedelta(hours=14)), 253_370_764_799_999, "9999-01-01 13:59:59"),
        (timezone(timedelta(hours=-12)), 0, "1969-12-31 12:00:00"),
        (BERLIN, NOON_MS, "2026-09-28 14:00:00"),
        (BERLIN, 1_774_745_999_000, "2026-03-29 01:59:59"),  # the last second before summer time
        (BERLIN, 1_774_746_000_000, "2026-03-29 03:00:00"),
        (BERLIN, 1_792_888_200_000, "2026-10-25 02:30:00"),  # the hour that comes twice in autumn
        (BERLIN, 1_792_891_800_000, "2026-10-25 02:30:00"),
        (BERLIN, 1_792_895_400_000, "2026-10-25 03:30:00"),
        (ZoneInfo("Asia/Kathmandu"), NOON_MS, "2026-09-28 17:45:00"),
    ],
)
@pytest.mark.parametrize("column", ["timeLogged", "timeQueued"])
def test_instant_is_written_in_the_configured_time_zone(zone: tzinfo, ms: int, cell: str, column: str) -> None:
    one = event("bounce", **{"timeLogged": 0, column: ms})
    assert render_one(one, column, row_settings([column], timezone=zone)) == cell


def test_clock_stays_right_and_small_over_more_seconds_than_it_remembers() -> None:
    clock = Clock(UTC)
    for second in range(NOON_MS // 1000, NOON_MS // 1000 + 10_000):
        assert clock.remember(second) == written(second * 1000) == clock.seen[second]
        assert len(clock.seen) <= 4096


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(st.sampled_from([*FORMATS, (Format.JSONL, "\t")]), st.sampled_from(TYPES), batches())
def test_same_entries_give_the_same_bytes_again(layout: tuple[Format, str], event_type: str, batch: Batch) -> None:
    configured = row_settings(layout=layout[0], separator=layout[1], timezone=BERLIN)
    entries = batch.entries(event_type)
    whole = render(event_type, configured, entries)
    assert whole == render(event_type, configured, entries)
    assert whole == b"".join(render(event_type, configured, [entry]) for entry in entries)  # suspect alone or not
