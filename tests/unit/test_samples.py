"""Sample events: what the plugin's tests made is what the worker decodes. Drift on either side turns this red."""

import json
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest

from schemas.events import TAGS, TYPES, AnyEvent, json_schema
from tests.unit.events import ALL_COLUMNS, payload, render, row_settings, values

FILES = sorted((Path(__file__).parents[2] / "schemas" / "samples").glob("*.json"))
ENTRY = msgspec.json.Decoder(Annotated[list[AnyEvent], msgspec.Meta(min_length=1)])
SCHEMA = jsonschema.Draft202012Validator(json_schema())


def sample(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the events of a sample by type."""
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("event_type", TYPES)
def test_there_is_a_sample_of_each_type(event_type: str) -> None:
    assert any(sample(path).get(event_type) for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sample_satisfies_structs_and_schema(path: Path) -> None:
    assert set(sample(path)) <= set(TYPES)
    for event_type, events in sample(path).items():
        SCHEMA.validate(events)
        decoded = ENTRY.decode(json.dumps(events))
        assert len(decoded) == len(events) > 0
        assert {one.__struct_config__.tag for one in decoded} == {TAGS[event_type]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sample_holds_no_field_that_the_structs_do_not_know(path: Path) -> None:
    for events in sample(path).values():
        for given, decoded in zip(events, ENTRY.decode(json.dumps(events)), strict=True):
            assert not unknown(given, decoded)


def unknown(given: dict[str, Any], decoded: Any) -> set[str]:
    """Return the fields of a JSON event, and of its recipients, that its struct has no attribute for."""
    known = {field.encode_name for field in msgspec.structs.fields(decoded)} | {"type"}
    recipient = {field.encode_name for field in msgspec.structs.fields(decoded.rcpts[0])}
    return (set(given) - known) | {name for one in given["rcpts"] for name in set(one) - recipient}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_value_of_a_sample_stands_in_its_rows(path: Path) -> None:
    for event_type, events in sample(path).items():
        text = render(event_type, row_settings(), [(b"1790596800000-7", payload(*events))]).decode()
        due = [values(event_type, one, rcpt, "1790596800000-7") for one in events for rcpt in one["rcpts"]]
        found = [dict(zip(ALL_COLUMNS, line.split("\t"), strict=True)) for line in text.splitlines()]
        assert found == [{column: row.get(column, "-") for column in ALL_COLUMNS} for row in due]
