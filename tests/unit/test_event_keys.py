"""Keys of entries: what is recognised when it comes again, and what never may be taken for another."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.event_keys import by_itself, ids_of, keys_of

quiet = settings(derandomize=True, database=None, deadline=None)


class Event(NamedTuple):
    """An event, of which only the id matters."""

    event_id: Any


def keys(*event_ids: Any) -> list[str]:
    """Return the keys of entries with one event each, whose stream ids are 1-0, 2-0 and so on."""
    ids = [f"{number}-0".encode() for number, _ in enumerate(event_ids, 1)]
    return list(keys_of(ids_of(ids, [[Event(each)] for each in event_ids])))


def test_all_events_of_a_batch_have_one_key_whichever_comes_first() -> None:
    assert keys("mx1:7:0", "mx1:7:3", "mx1:8:0") == ["mx1:7", "mx1:7", "mx1:8"]


@pytest.mark.parametrize("event_id", ["", " ", "a b:1:2", None, 7, ["mx1:7:0"], "mx1:7:0 mx1:8:0"])
def test_an_event_id_that_the_plugin_never_gives_is_replaced_by_the_stream_id(event_id: Any) -> None:
    assert keys("mx1:7:0", event_id, "mx1:9:0") == ["mx1:7", "@2-0", "mx1:9"]


def test_an_event_id_of_any_length_does_not_fill_the_journal() -> None:
    assert keys("x" * 1_000_000 + ":1:0", "mx1:7:0") == ["@1-0", "mx1:7"]
    assert by_itself(b"5-1", "x" * 201) == "@5-1"


@pytest.mark.parametrize("event_id", ["abc", "mx1-7", "mx1:x:0", "mx1:7"])
def test_an_event_id_without_a_number_is_no_key(event_id: str) -> None:
    assert keys(event_id) == []


@quiet
@given(st.lists(st.one_of(st.text(max_size=20), st.none(), st.from_regex(r"[a-z.]{1,9}:[0-9]:[0-9]", fullmatch=True))))
def test_no_event_id_adds_a_key_of_another_entry(event_ids: list[str | None]) -> None:
    found = keys(*event_ids)
    assert len(found) <= len(event_ids)
    numbered = {each.rpartition(":")[0] for each in event_ids if each and ":" in each}
    assert all(key in numbered or key.startswith("@") for key in found)
