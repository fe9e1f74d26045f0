"""The expectation itself, against answers whose rows were worked out by hand."""

from collections import Counter

import pytest

from haraka.demo.expect import Queueing, Row, expect
from haraka.demo.messages import Message, demo_messages
from haraka.demo.record import Transaction, read_reply
from haraka.demo.script import DROP, Stage, answer

ORIG = "m@sender.test"
OK, BUSY, NO = "250 2.1.5 fine", "451 4.2.1 busy", "550 5.1.1 nobody"
TAKEN: tuple[Stage, str] = ("dot", "250 2.0.0 taken")


def said(*rcpts: tuple[str, str], verdict: tuple[Stage, str] | None = None, orig: str = ORIG) -> Transaction:
    return Transaction(orig, rcpts, verdict, "127.0.0.1", "127.0.0.1", 25)


def tags(messages: list[Message], transactions: list[Transaction], queueing: Queueing) -> Counter[tuple[str, str]]:
    return Counter((row.type, row.rcpt) for row, _ in expect(messages, transactions, queueing).rows)


def test_an_accepted_recipient_has_one_delivered_row_with_the_text_after_the_codes() -> None:
    due = expect([Message(ORIG, ("a@b.test",))], [said(("a@b.test", OK), verdict=TAKEN)], Queueing(retries=1))
    assert due.rows == ((Row("d", ORIG, "a@b.test", "2.0.0", "taken"), "accepted"),)
    assert due.is_final


def test_a_message_without_answers_is_not_final() -> None:
    due = expect([Message(ORIG, ("a@b.test", "c@b.test"))], [], Queueing(retries=1))
    assert due.unsettled == {(ORIG, "a@b.test"), (ORIG, "c@b.test")}
    assert not due.is_final


def test_retries_that_are_used_up_end_as_a_bounce_of_class_5_and_a_bounce_message() -> None:
    message, busy = Message(ORIG, ("a@b.test",)), said(("a@b.test", BUSY))
    due = expect([message], [busy, busy], Queueing(retries=1))
    assert [row for row, _ in due.rows] == [
        Row("df", ORIG, "a@b.test", "4.2.1", BUSY),
        Row("b", ORIG, "a@b.test", "5.2.1", f"Too many failures ({BUSY})"),
    ]
    assert not due.is_final  # its bounce message is still to come
    dsn = said((ORIG, OK), verdict=TAKEN, orig="")
    due = expect([message], [busy, busy, dsn], Queueing(retries=1))
    assert due.rows[-1] == (Row("d", "", ORIG, "2.0.0", "taken"), "bounce message accepted")
    assert due.is_final
    assert expect([message], [busy, busy, dsn, dsn], Queueing(retries=1)).dsns_too_many == 1


def test_a_split_item_counts_its_failures_from_zero_again() -> None:
    message = Message(ORIG, ("a@b.test", "c@b.test"))
    both, one = said(("a@b.test", BUSY), ("c@b.test", BUSY)), said(("a@b.test", BUSY), ("c@b.test", OK), verdict=TAKEN)
    alone = said(("a@b.test", BUSY))
    found = tags([message], [both, one, alone], Queueing(retries=1))
    assert found == {("df", "a@b.test"): 2, ("df", "c@b.test"): 1, ("d", "c@b.test"): 1, ("b", "a@b.test"): 1}


def test_a_refusal_of_the_message_concerns_every_recipient_of_the_item() -> None:
    answers = [said(("a@b.test", OK), ("c@b.test", OK), verdict=("DATA", "554 5.7.1 no"))]
    found = tags([Message(ORIG, ("a@b.test", "c@b.test", "x@other.test"))], answers, Queueing(retries=1))
    assert found == {("b", "a@b.test"): 1, ("b", "c@b.test"): 1}


def test_always_split_makes_an_item_of_each_recipient() -> None:
    message = Message(ORIG, ("a@b.test", "c@b.test"))
    answers = [said(("a@b.test", OK), verdict=("DATA", "554 5.7.1 no")), said(("c@b.test", OK), verdict=TAKEN)]
    found = tags([message], answers, Queueing(retries=1, always_split=True))
    assert found == {("b", "a@b.test"): 1, ("d", "c@b.test"): 1}


def test_a_closed_exchanger_defers_and_bounces_without_the_sink() -> None:
    due = expect([Message(ORIG, ("a@b.test",))], [], Queueing(retries=2, closed_domains=("b.test",)))
    assert [row[0] for row in due.rows] == [
        Row("df", ORIG, "a@b.test", "4.1.2", "450 Tried all MXs b.test"),
        Row("df", ORIG, "a@b.test", "4.1.2", "450 Tried all MXs b.test"),
        Row("b", ORIG, "a@b.test", "5.1.2", "Too many failures (550 Tried all MXs b.test)"),
    ]
    assert due.dsns_due == 1


def test_a_dropped_connection_defers_and_garbage_bounces() -> None:
    message = Message(ORIG, ("a@b.test",))
    assert tags([message], [said(("a@b.test", DROP))], Queueing(retries=1)) == {("df", "a@b.test"): 1}
    assert tags([message], [said(("a@b.test", "\tgar\tbage"))], Queueing(retries=1)) == {("b", "a@b.test"): 1}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("250 2.0.0 ok", ("250", "2.0.0", "ok")),
        ("550 no", ("550", "", "no")),
        ("550-5.7.511 a\r\n550 5.7.511 b", ("550", "", "5.7.511 a 5.7.511 b")),
        ("550-5.7.1 a\r\n550 5.7.1 b", ("550", "5.7.1", "a b")),
        ("no reply", None),
        (DROP, None),
    ],
)
def test_a_reply_is_read_as_haraka_reads_it(text: str, read: tuple[str, str, str] | None) -> None:
    reply = read_reply(text)
    assert (reply and (reply.code, reply.enhanced, reply.text)) == read


def test_a_script_answers_by_address_stage_and_attempt() -> None:
    first, second = (answer("RCPT", "defer-1.x@b.test", attempt) for attempt in (1, 2))
    assert first is not None
    assert first.startswith("451 4.2.1")
    assert second is None
    assert answer("DATA", "defer-1.x@b.test", 1) is None
    assert answer("RCPT", "somebody@b.test", 1) is None
    assert answer("RCPT", "reject@b.test", 99) is not None


def test_the_demo_sends_the_same_300_messages_for_the_same_seed() -> None:
    messages = demo_messages(7)
    assert len(messages) == 300
    assert sum(len(message.rcpts) for message in messages) == 445
    assert messages == demo_messages(7)
    assert messages != demo_messages(8)
