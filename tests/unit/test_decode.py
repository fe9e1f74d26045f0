"""Decoding: what is taken, what is left alone, and what becomes a dead letter, to the event."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.catalogue import DEFAULT_COLUMNS, header_of
from schemas.events import TYPES, Bounce, Deferred, Delivered
from tests.unit.events import ALL_COLUMNS, CUSTOM, Batch, batches, event, payload, row_settings
from worker.decode import Decoded, Decoder, projection
from worker.rows import Rows, custom_attribute

quiet = settings(derandomize=True, database=None, deadline=None)
DEEP = b"[" * 10_000 + b"]" * 10_000


def decode(
    *payloads: list[bytes] | None, event_type: str = "bounce", columns: tuple[str, ...] = ("type", "rcpt")
) -> Decoded:
    """Decode entries that are called 0-0, 1-0 and so on."""
    entries = [(f"{index}-0".encode(), fields) for index, fields in enumerate(payloads)]
    return Decoder(event_type, columns).decode(entries)


def recipients(decoded: Decoded) -> list[list[str]]:
    """Return the recipients' addresses for each entry that holds events."""
    return [[recipient.rcpt for one in events for recipient in one.rcpts] for events in decoded.events]


def for_rcpt(*names: str) -> dict[str, Any]:
    return event("bounce", rcpts=[{"rcpt": name} for name in names])


BAD = [
    pytest.param({"type": "d"}, "$.type", id="type of another stream"),
    pytest.param({"type": None}, "$.type", id="type is null"),
    pytest.param({"v": 2}, "$.v", id="later version"),
    pytest.param({"v": "1"}, "$.v", id="version is a text"),
    pytest.param({"timeLogged": -1}, "$.timeLogged", id="before 1970"),
    pytest.param({"timeLogged": 253_370_764_800_000}, "$.timeLogged", id="after 9998"),
    pytest.param({"timeLogged": 0.5}, "$.timeLogged", id="fraction of a millisecond"),
    pytest.param({"timeLogged": "2026"}, "$.timeLogged", id="time is a text"),
    pytest.param({"rcpts": []}, "$.rcpts", id="no recipient"),
    pytest.param({"rcpts": "a"}, "$.rcpts", id="recipients are a text"),
    pytest.param({"rcpts": [{"rcpt": ""}]}, "$.rcpts[0].rcpt", id="empty recipient"),
    pytest.param({"rcpts": [{"rcpt": "a"}, {"rcpt": ""}]}, "$.rcpts[1].rcpt", id="second recipient empty"),
    pytest.param({"rcpts": [{"rcpt": "a"}, {}]}, "$.rcpts[1]", id="second recipient has no address"),
    pytest.param({"rcpts": [{"rcpt": None}]}, "$.rcpts[0].rcpt", id="recipient is null"),
    pytest.param({"rcpts": [None]}, "$.rcpts[0]", id="recipient is no object"),
]


@pytest.mark.parametrize(("changes", "place"), BAD)
@pytest.mark.parametrize("event_type", ["deferred", "bounce"])
def test_bad_event_alone_is_dead_with_its_position_and_the_place_of_the_error(
    event_type: str, changes: dict[str, Any], place: str
) -> None:
    bad = event(event_type, **changes)
    decoded = decode(payload(event(event_type)), payload(event(event_type), bad, event(event_type)),
                     event_type=event_type)  # fmt: skip
    assert recipients(decoded) == [["a@example.com"], ["a@example.com", "a@example.com"]]
    assert decoded.ids == [b"0-0", b"1-0"]
    (letter,) = decoded.dead
    assert letter[:3] == (event_type, b"1-0", 1)
    assert json.loads(letter.payload) == bad
    assert letter.error.endswith(f"at `{place}`")


@pytest.mark.parametrize("field", ["type", "v", "timeLogged", "rcpts"])
@pytest.mark.parametrize("event_type", TYPES)
def test_event_without_a_required_field_is_dead_with_the_name_of_the_field(event_type: str, field: str) -> None:
    bad = {name: value for name, value in event(event_type).items() if name != field}
    (letter,) = decode(payload(bad), event_type=event_type).dead
    assert letter.position == 0
    assert f"`{field}`" in letter.error


@pytest.mark.parametrize("item", [None, 1, "text", [], [{}], True])
def test_item_that_is_no_object_is_dead_alone(item: object) -> None:
    decoded = decode(payload(for_rcpt("a"), item, for_rcpt("b")))
    assert recipients(decoded) == [["a", "b"]]
    assert [letter.position for letter in decoded.dead] == [1]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([b"events", b""], id="empty"),
        pytest.param([b"events", b"[]"], id="empty array"),
        pytest.param([b"events", json.dumps(event("bounce")).encode()], id="an event that is in no array"),
        pytest.param([b"events", b"null"], id="null"),
        pytest.param([b"events", b"[{}"], id="cut off"),
        pytest.param([b"events", payload(event("bounce"))[1] + b"]"], id="something behind it"),
        pytest.param([b"events", b"\xff\xfe["], id="not UTF-8 outside of texts"),
        pytest.param([b"events", b"\xef\xbb\xbf" + payload(event("bounce"))[1]], id="byte order mark"),
        pytest.param([b"events", payload(event("bounce"))[1].replace(b"a@", b"\\ud800@")], id="lone surrogate"),
        pytest.param([b"events", payload(event("bounce"))[1].replace(b"a@", b"\\udc00@")], id="lone low surrogate"),
        pytest.param([b"events", DEEP], id="nested 10 000 deep"),
        pytest.param([b"events", b'[{"x":' + DEEP + b"}]"], id="unknown field nested 10 000 deep"),
        pytest.param([b"n", b"1"], id="no field of that name"),
        pytest.param([b"Events", payload(event("bounce"))[1]], id="name in another case"),
        pytest.param([b"events"], id="name without a value"),
        pytest.param([], id="no field"),
    ],
)
def test_entry_that_is_no_array_of_events_is_dead_as_a_whole(fields: list[bytes]) -> None:
    decoded = decode(payload(for_rcpt("a")), fields, payload(for_rcpt("b")))
    assert recipients(decoded) == [["a"], ["b"]]
    assert decoded.ids == [b"0-0", b"2-0"]
    (letter,) = decoded.dead
    stored = dict(zip(fields[::2], fields[1::2], strict=False)).get(b"events", b"")
    assert letter[:4] == ("bounce", b"1-0", -1, stored)
    assert letter.error


def test_recipient_that_is_not_utf_8_is_dead_alone() -> None:
    fields = payload(for_rcpt("a"), for_rcpt("BAD"), for_rcpt("b"))
    fields[1] = fields[1].replace(b"BAD", b"\xc3\x28")
    decoded = decode(fields)
    assert recipients(decoded) == [["a", "b"]]
    (letter,) = decoded.dead
    assert letter.position == 1
    assert b"\xc3\x28" in letter.payload
    assert letter.error


def test_field_events_is_found_wherever_it_stands() -> None:
    fields = payload(for_rcpt("b"))
    decoded = decode(payload(for_rcpt("a")), [*fields[2:], *fields[:2]], [b"x", b"events", *fields])
    assert recipients(decoded) == [["a"], ["b"], ["b"]]
    assert not decoded.dead


def test_deleted_entries_are_lost_and_named_by_their_ids() -> None:
    decoded = decode(None, payload(for_rcpt("a")), None)
    assert (decoded.ids, recipients(decoded), decoded.lost) == ([b"1-0"], [["a"]], [b"0-0", b"2-0"])
    assert not decoded.dead


def test_no_entries_are_nothing() -> None:
    assert decode() == Decoded([], [], suspect=False, size=0, dead=[], lost=[], event_ids="")


def test_entry_with_only_bad_events_holds_none() -> None:
    decoded = decode(payload({}, {}), payload(for_rcpt("a")))
    assert decoded.ids == [b"1-0"]
    assert [(letter.entry_id, letter.position) for letter in decoded.dead] == [(b"0-0", 0), (b"0-0", 1)]


@pytest.mark.parametrize("damage", [[], [None], [[b"events", b"x"]], [payload({})]])
def test_entries_and_events_keep_their_order(damage: list[list[bytes] | None]) -> None:
    good = [payload(for_rcpt("c", "a"), for_rcpt("b")), payload(for_rcpt("0")), payload(for_rcpt("z"))]
    decoded = decode(good[0], *damage, good[1], good[2])
    assert recipients(decoded) == [["c", "a", "b"], ["0"], ["z"]]
    assert decoded.ids == sorted(decoded.ids)


@pytest.mark.parametrize("damage", [[], [None]])
def test_size_is_the_bytes_of_json(damage: list[None]) -> None:
    fields = payload(for_rcpt("é"))
    assert decode(fields, fields, *damage).size == 2 * len(fields[1])


@pytest.mark.parametrize(("text", "suspect"), [("plain é", False), ('a"', True), ("a\x7f", True), ("a\x85", True)])
@pytest.mark.parametrize("damage", [[], [None]])
def test_decoded_entries_say_whether_they_are_suspect(text: str, suspect: bool, damage: list[None]) -> None:  # noqa: FBT001
    assert decode(payload(for_rcpt("a")), payload(for_rcpt(text)), *damage).suspect is suspect


def test_fields_that_no_column_needs_are_neither_looked_at_nor_refused() -> None:
    one = event("bounce", vmta=7, attempts="many", timeQueued=-1, custom=[], later={"x": [1]}, eventId=None)
    one["rcpts"][0] |= {"dsnMsg": 3, "later": None}
    (events,) = decode(payload(one)).events
    assert events[0].__struct_fields__ == ("type", "v", "event_id", "time_logged", "rcpts")
    assert events[0].rcpts[0].__struct_fields__ == ("rcpt",)


@pytest.mark.parametrize(
    ("column", "changes", "place"),
    [
        ("vmta", {"vmta": 7}, "$.vmta"),
        ("vmta", {"vmta": ""}, "$.vmta"),
        ("attempts", {"attempts": -1}, "$.attempts"),
        ("timeQueued", {"timeQueued": -1}, "$.timeQueued"),
        ("totalSecondsQueued", {"timeQueued": "now"}, "$.timeQueued"),
        ("srcType", {"srcMta": 1}, "$.srcMta"),
        ("dlvDestinationPort", {"dlvDestinationPort": 65536}, "$.dlvDestinationPort"),
        ("dsnMsg", {"rcpts": [{"rcpt": "a", "dsnMsg": 3}]}, "$.rcpts[0].dsnMsg"),
        (CUSTOM, {"custom": {"x-campaign": 1}}, "$.custom.x-campaign"),
        (CUSTOM, {"custom": None}, "$.custom"),
    ],
)
def test_field_that_a_column_needs_is_refused_when_it_is_wrong(column: str, changes: Any, place: str) -> None:
    one = event("bounce", **changes)
    (letter,) = decode(payload(one), columns=(column,)).dead
    assert letter.error.endswith(f"at `{place}`")
    assert not decode(payload(one)).dead


@pytest.mark.parametrize("event_type", TYPES)
def test_projection_holds_what_the_columns_need_and_no_more(event_type: str) -> None:
    fields = set(projection(event_type, ("rcpt", "vmta", CUSTOM)).__struct_fields__)
    assert fields == {"type", "v", "event_id", "time_logged", "rcpts", "vmta", "custom"}


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("columns", [ALL_COLUMNS, None], ids=["all", "default"])
def test_projected_event_has_the_values_of_the_full_one(event_type: str, columns: tuple[str, ...] | None) -> None:
    full = msgspec.json.Decoder(list[Delivered | Deferred | Bounce])
    decoder = Decoder(event_type, columns or DEFAULT_COLUMNS[event_type])

    @settings(quiet, max_examples=50)
    @given(batches())
    def check(batch: Batch) -> None:
        entries = batch.entries(event_type)
        decoded = decoder.decode(entries)
        assert decoded.ids == [entry_id for entry_id, _ in entries]
        whole = [full.decode(fields[1]) for _, fields in entries if fields]
        for events, full_events in zip(decoded.events, whole, strict=True):
            for one, full_one in zip(events, full_events, strict=True):
                assert_same(one, full_one)

    check()


def assert_same(projected: Any, full: Any) -> None:
    """Compare every attribute of a projected event, and of its recipients, with the full one's."""
    for name in set(projected.__struct_fields__) - {"type", "rcpts", "custom"}:
        assert getattr(projected, name) == getattr(full, name), name
    assert len(projected.rcpts) == len(full.rcpts)
    for one, other in zip(projected.rcpts, full.rcpts, strict=True):
        assert all(getattr(one, name) == getattr(other, name) for name in one.__struct_fields__)
    if "custom" in projected.__struct_fields__:
        assert getattr(projected.custom, custom_attribute(CUSTOM)) == full.custom.get(header_of(CUSTOM), "")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["type", "v", "timeLogged", "timeQueued", "rcpts", "custom", "vmta", "attempts", "delay", "x"])
almost_events = st.builds(
    lambda event_type, changes: event(event_type, **changes),
    st.sampled_from(TYPES),
    st.dictionaries(names, json_values, max_size=2),
)


@settings(quiet, max_examples=300)
@given(st.sampled_from(TYPES), st.lists(almost_events | json_values, max_size=4), st.binary(max_size=4), st.randoms())
def test_anything_in_an_entry_is_decoded_and_rendered_or_dead_and_nothing_raises(
    event_type: str, items: list[Any], noise: bytes, random: Any
) -> None:
    fields = payload(*items)
    whole = decode(fields, event_type=event_type, columns=ALL_COLUMNS)
    if items:
        assert sum(map(len, whole.events)) + len(whole.dead) == len(items)
    place = random.randrange(len(fields[1]) + 1)
    damaged = [b"events", fields[1][:place] + noise + fields[1][place + random.randrange(3) :]]
    for decoded in (whole, decode(fields, damaged, event_type=event_type, columns=ALL_COLUMNS)):
        rows, count = Rows(event_type, row_settings()).render(decoded.ids, decoded.events, suspect=decoded.suspect)
        assert rows.count(b"\n") == count
        assert all(letter.error and letter.error.encode() for letter in decoded.dead)


@settings(quiet, max_examples=300)
@given(st.lists(st.none() | st.lists(st.just(b"events") | st.binary(max_size=30), max_size=4), max_size=4))
@example([[b"events", b"[" + b"9" * 5000 + b"]"]])
@example([[b"events", b'[{"type":"b","v":1,"timeLogged":1e999,"rcpts":[]}]']])
def test_arbitrary_bytes_are_lost_or_dead_and_never_raise(entries: list[list[bytes] | None]) -> None:
    decoded = decode(*entries)
    accounted = {*decoded.ids, *(letter.entry_id for letter in decoded.dead)}
    assert len(accounted) + len(decoded.lost) == len(entries)
    assert len(decoded.lost) == entries.count(None)


@pytest.mark.parametrize("digits", [19, 20, 40, 4000, 4300, 4301, 20_000])
@pytest.mark.parametrize("column", ["attempts", "delay", "dlvDestinationPort", "timeQueued", "timeLogged"])
def test_number_of_any_length_is_written_or_dead(column: str, digits: int) -> None:
    fields = payload(event("deferred", **{column: 987654321}))
    fields[1] = fields[1].replace(b"987654321", b"9" * digits)
    decoded = decode(fields, event_type="deferred", columns=(column,))
    rows, count = Rows("deferred", row_settings([column])).render(decoded.ids, decoded.events, suspect=False)
    assert count + len(decoded.dead) == 1
    assert rows.count(b"\n") == count
