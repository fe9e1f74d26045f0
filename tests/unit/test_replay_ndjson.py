"""Entries as lines of NDJSON, whatever strangers put into them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import encode, make_event
from worker.replay.ndjson import Order, line_of, parse

GOOD = encode([make_event("bounce", 1, dsnMsg="zu groß ☃")])


@given(st.one_of(st.binary(), st.text().map(str.encode), st.sampled_from([GOOD, b" [ ] ", b'[1,"\\n"]', b"[\n1]"])))
def test_whatever_an_entry_holds_comes_back_as_it_was_in_one_line(payload: bytes) -> None:
    line = line_of("bounce", (b"5-7", [b"n", b"1", b"events", payload]))
    assert line.count(b"\n") == 1
    assert json.loads(line)["id"] == "5-7"
    assert parse(line) == ("bounce", (b"5-7", (b"events", payload)))


@pytest.mark.parametrize(
    "payload", [b"[" * 100_000, b"[1]}\n{", b'[1],"base64":"AAAA"', b"\xff", b"[\r1]", b" [1]", b""]
)
def test_what_would_break_a_line_is_kept_as_base64(payload: bytes) -> None:
    line = line_of("bounce", (b"5-7", [b"events", payload]))
    assert sorted(json.loads(line)) == ["base64", "id", "type"]
    assert parse(line)[1] == (b"5-7", (b"events", payload))


def test_the_events_of_a_line_can_be_read_by_others() -> None:
    line = json.loads(line_of("bounce", (b"5-7", [b"events", GOOD, b"n", b"1"])))
    assert line == {"id": "5-7", "type": "bounce", "events": json.loads(GOOD)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "truncated"),
        (b"no json", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"id":"5-7","type":"bounced","events":[]}', "bounced"),
        (b'{"id":"5","type":"bounce","events":[]}', "id is '5'"),
        (b'{"id":"18446744073709551616-0","type":"bounce","events":[]}', "id is"),
        (b'{"id":"5-7","type":"bounce"}', "one of events and base64"),
        (b'{"id":"5-7","type":"bounce","events":[],"base64":""}', "one of events and base64"),
        (b'{"id":"5-7","type":"bounce","base64":"*"}', "base64"),
        (b'{"id":"5-7","type":"bounce","base64":"\xc3\xa9"}', "ASCII"),
        (b'{"id":"5-7","type":"bounce","events":[}', "malformed"),
        (b'{"id":"\xff","type":"bounce","events":[]}', "utf-8"),
        (b'{"id":"5-7","type":"bounce","events":' + b"[" * 100_000, "expected"),
    ],
)
def test_a_bad_line_is_refused_with_what_was_expected(line: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=r'expected \{"id":"1795373309671-0"') as error:
        parse(line)
    assert message in str(error.value)


def test_ids_have_to_grow_within_each_type() -> None:
    order = Order()
    order.check("bounce", "9-0")
    order.check("delivered", "5-0")
    order.check("bounce", "10-0")
    with pytest.raises(ValueError, match="bounce 10-0 comes after 10-0: expected exports in order"):
        order.check("bounce", "10-0")
