"""The contract: generated files are up to date, structs and JSON Schema agree, and samples satisfy both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings

from schemas.__main__ import GENERATED
from schemas.events import TYPES, AnyEvent, json_schema
from tests.unit.events import Batch, batches, event

ENTRY = msgspec.json.Decoder(Annotated[list[AnyEvent], msgspec.Meta(min_length=1)])
SCHEMA = jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize(("path", "content"), GENERATED.items(), ids=lambda value: getattr(value, "name", ""))
def test_generated_file_is_up_to_date(path: Path, content: Callable[[], str]) -> None:
    assert path.read_text(encoding="utf-8") == content(), "run `make schemas`"


def test_json_schema_is_valid_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@settings(derandomize=True, database=None, deadline=None, max_examples=20)
@given(batches())
def test_events_satisfy_structs_and_schema(batch: Batch) -> None:
    for event_type in TYPES:
        written = json.dumps(batch.events[event_type])
        assert len(ENTRY.decode(written)) == len(batch.events[event_type])
        SCHEMA.validate(json.loads(written))


def test_fields_that_a_later_version_added_are_accepted() -> None:
    one = event("bounce", later=1, rcpts=[{"rcpt": "a", "later": None}])
    SCHEMA.validate([one])
    assert len(ENTRY.decode(json.dumps([one]))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "x"},
        {"v": 2},
        {"v": 0},
        {"eventId": ""},
        {"timeLogged": -1},
        {"timeLogged": 253_370_764_800_000},
        {"timeLogged": "now"},
        {"timeQueued": -1},
        {"rcpts": []},
        {"rcpts": [{}]},
        {"rcpts": [{"rcpt": ""}]},
        {"rcpts": ["a"]},
        {"vmta": ""},
        {"attempts": -1},
        {"dlvDestinationPort": 65_536},
        {"custom": {"x": 1}},
    ],
    ids=str,
)
@pytest.mark.parametrize("event_type", TYPES)
def test_bad_event_satisfies_neither_struct_nor_schema(event_type: str, changes: dict[str, Any]) -> None:
    bad = event(event_type, **changes)
    assert not SCHEMA.is_valid([bad])
    with pytest.raises(msgspec.ValidationError):
        ENTRY.decode(json.dumps([bad]))


@pytest.mark.parametrize("field", ["type", "v", "eventId", "timeLogged", "rcpts"])
@pytest.mark.parametrize("event_type", TYPES)
def test_event_without_a_required_field_satisfies_neither_struct_nor_schema(event_type: str, field: str) -> None:
    bad = {name: value for name, value in event(event_type).items() if name != field}
    assert not SCHEMA.is_valid([bad])
    with pytest.raises(msgspec.ValidationError):
        ENTRY.decode(json.dumps([bad]))


@pytest.mark.parametrize("entry", [[], {}, None, "text", [None], [[]]])
def test_what_is_no_array_of_events_satisfies_neither_struct_nor_schema(entry: object) -> None:
    assert not SCHEMA.is_valid(entry)
    with pytest.raises(msgspec.ValidationError):
        ENTRY.decode(json.dumps(entry))
