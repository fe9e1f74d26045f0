"""The files against the sink: what real mail through a real Haraka leaves in them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import pytest

from haraka.demo.accounting import compared
from tests.haraka.runs import SETUPS, Run
from tests.haraka.scenarios import BOUND_IP, HEADER, MESSAGES, UNFOLDED

pytestmark = pytest.mark.haraka

RunOf = Callable[[str], Run]
INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("scenario", MESSAGES)
def test_every_answer_of_the_sink_has_exactly_one_row(run_of: RunOf, setup: str, scenario: str) -> None:
    run = run_of(setup)
    assert run.due(scenario)
    assert run.found(scenario) == run.due(scenario)


@pytest.mark.parametrize("setup", SETUPS)
def test_there_is_no_row_that_no_answer_accounts_for(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    assert Counter(map(compared, run.rows)) == run.expectation.counter()


@pytest.mark.parametrize("setup", SETUPS)
def test_no_value_is_undefined_empty_or_holds_a_control_character(run_of: RunOf, setup: str) -> None:
    values = {value for row in run_of(setup).rows for value in row.values()}
    assert not {v for v in values if re.search(r"undefined|null|NaN|\[object|[\x00-\x1f\x7f-\x9f\u2028\u2029]", v)}
    assert "" not in values


@pytest.mark.parametrize("setup", SETUPS)
def test_instants_are_formatted_and_a_message_is_logged_after_it_was_queued(run_of: RunOf, setup: str) -> None:
    for row in run_of(setup).rows:
        assert INSTANT.fullmatch(row["timeLogged"])
        assert INSTANT.fullmatch(row["timeQueued"])
        assert row["timeQueued"] <= row["timeLogged"]
        assert float(row["totalSecondsQueued"]) >= 0


@pytest.mark.parametrize("setup", SETUPS)
def test_senders_get_exactly_one_bounce_message_for_each_bounce(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    dsns = [transaction for transaction in run.transactions if not transaction.orig]
    bounced = {
        (row["orig"], row["jobId"], row["eventId"]) for row in run.rows if row["type"] == "b" and row["orig"] != "-"
    }
    assert len(dsns) == len(bounced)
    assert run.expectation.dsns_too_many == 0
    assert all(b"Final-Recipient:" in dsn.content for dsn in dsns if dsn.verdict)


@pytest.mark.parametrize("setup", SETUPS)
def test_a_refused_bounce_message_is_a_bounce_of_the_null_sender_and_the_end(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    orig = MESSAGES["double-bounce"].orig
    assert [(row["type"], row["orig"]) for row in run.rows if row["rcpt"] == orig] == [("b", "-")]


@pytest.mark.parametrize("setup", SETUPS)
def test_the_source_address_is_the_one_that_the_sink_saw(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    seen = {(t.orig, rcpt): t.src_ip for t in run.transactions if t.orig for rcpt, _ in t.rcpts}
    assert set(seen.values()) == {"127.0.0.1", BOUND_IP}
    answered = [row for row in run.rows if row["orig"] != "-" and "Tried all MXs" not in row["dsnMsg"]]
    assert {(row["type"], row["orig"], row["rcpt"], row["srcIp"]) for row in answered} == {
        (row["type"], row["orig"], row["rcpt"], seen[row["orig"], row["rcpt"]]) for row in answered
    }


@pytest.mark.parametrize("setup", SETUPS)
def test_the_destination_of_what_the_sink_answered_is_the_sink(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    for scenario in ("one-accepted", "5xx-at-rcpt", "4xx-then-accepted", "5xx-at-data", "garbage-at-rcpt"):
        for row in run.rows_of(scenario):
            assert (row["destIp"], row["dlvDestinationPort"]) == ("127.0.0.1", str(run.sink_port)), row
            assert row["dlvType"] == "smtp"


@pytest.mark.parametrize("setup", SETUPS)
def test_the_submitting_host_is_shown_in_every_row_and_for_bounce_messages_in_none(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    for scenario, message in MESSAGES.items():
        assert {(row["srcMta"], row["srcType"]) for row in run.rows_of(scenario)} == {(message.helo, "smtp")}
    assert {(row["srcMta"], row["srcType"]) for row in run.rows if row["orig"] == "-"} == {("-", "-")}


@pytest.mark.parametrize("setup", SETUPS)
def test_a_header_with_tabs_and_folds_is_unfolded_in_every_row_of_its_message(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    column = f"custom_{HEADER}"
    rows = run.rows_of("header")
    assert {row["type"] for row in rows} == {"d", "df", "b"}
    assert {row[column] for row in rows} == {UNFOLDED}
    assert {row[column] for row in run.rows if row["orig"] != MESSAGES["header"].orig} == {"-"}
    assert {row["custom_X-Absent"] for row in run.rows} == {"-"}


@pytest.mark.parametrize("setup", SETUPS)
def test_the_bounce_category_is_what_the_destination_said(run_of: RunOf, setup: str) -> None:
    run = run_of(setup)
    for scenario in ("5xx-at-rcpt", "5xx-at-data", "4xx-until-bounce"):
        bounces = [row for row in run.rows_of(scenario) if row["type"] == "b"]
        assert bounces
        assert all(row["bounceCat"] == row["dsnMsg"] for row in bounces)


@pytest.mark.parametrize("setup", SETUPS)
def test_the_delay_is_the_retry_interval(run_of: RunOf, setup: str) -> None:
    delays = {float(row["delay"]) for row in run_of(setup).rows if row["type"] == "df"}
    assert delays == {5.0}


def test_attempts_count_up_to_the_acceptance_or_the_bounce(default: Run) -> None:
    assert _steps(default, "4xx-then-accepted") == [("df", "1"), ("df", "2"), ("d", "3")]
    assert _steps(default, "4xx-until-bounce") == [("df", "1"), ("df", "2"), ("b", "3")]
    assert _steps(default, "connection-refused")[:3] == [("df", "1"), ("df", "2"), ("b", "3")]
    assert _steps(default, "5xx-at-rcpt") == [("b", "1")]


def test_garbage_with_tabs_and_line_ends_is_one_value(default: Run) -> None:
    (row,) = default.rows_of("garbage-at-rcpt")
    assert row["type"] == "b"
    said = "550 Unrecognized response from upstream server: garbage for <garbage.1@blue.test>"
    assert " ".join(row["dsnMsg"].split()) == said
    assert not any(row["rcpt"] == "forged@row.test" for row in default.rows)


def test_five_recipients_of_one_domain_are_one_event_and_with_always_split_five(run_of: RunOf) -> None:
    def events(rows: list[Mapping[str, str]]) -> tuple[int, int]:
        return len({row["eventId"] for row in rows}), len({row["jobId"] for row in rows})

    assert events(run_of("default").rows_of("five-of-one-domain")) == (1, 1)
    assert events(run_of("always_split").rows_of("five-of-one-domain")) == (5, 5)


def test_with_nodes_2_both_processes_publish(run_of: RunOf) -> None:
    assert len(_producers(run_of("nodes=2").rows)) == 2


def test_a_restart_between_deferral_and_retry_loses_nothing_and_keeps_the_job(run_of: RunOf) -> None:
    run = run_of("restart")
    kept = ("jobId", "srcMta", "timeQueued", f"custom_{HEADER}")
    deferred, delivered = (row for row in run.rows_of("header") if row["rcpt"].startswith("defer-1"))
    assert (deferred["type"], delivered["type"]) == ("df", "d")
    assert not _producers([deferred]) & _producers([delivered])
    assert {key: deferred[key] for key in kept} == {key: delivered[key] for key in kept}


def _steps(run: Run, scenario: str) -> list[tuple[str, str]]:
    return [(row["type"], row["attempts"]) for row in run.rows_of(scenario)]


def _producers(rows: Iterable[Mapping[str, str]]) -> set[str]:
    return {row["eventId"].rsplit(":", 2)[0] for row in rows}
