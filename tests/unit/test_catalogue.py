"""The catalogue of fields against the structs of the events: neither knows what the other does not."""

from typing import get_args, get_origin

import msgspec
import pytest
from msgspec import Struct

from schemas.catalogue import DEFAULT_COLUMNS, FIELDS, Field, Kind, Origin, header_of, is_custom, markdown
from schemas.events import EVENT_TYPES, TAGS, TYPES

COMMON = "type,timeLogged,timeQueued,rcpt,srcMta,srcIp,vmta,jobId,dsnStatus,dsnMsg"
ATTRIBUTES = [
    pytest.param(field, event_type, id=f"{field.name}-{event_type}")
    for field in FIELDS.values()
    for event_type, origin in field.origin.items()
    if origin in {Origin.EVENT, Origin.RECIPIENT}
]
JSON_TYPES: dict[Kind, set[str]] = {
    Kind.TEXT: {"string"},
    Kind.SOURCE_TYPE: {"string"},
    Kind.INSTANT: {"integer"},
    Kind.QUEUED_SECONDS: {"integer"},
    Kind.NUMBER: {"integer", "number"},
    Kind.BOOLEAN: {"boolean"},
}


def recipient_struct(event_type: str) -> type[Struct]:
    (rcpts,) = (field for field in msgspec.structs.fields(EVENT_TYPES[event_type]) if field.name == "rcpts")
    of_list = get_args(rcpts.type)[0] if get_origin(rcpts.type) is not list else rcpts.type
    struct: type[Struct] = get_args(of_list)[0]
    return struct


def owner(field: Field, event_type: str) -> type[Struct]:
    """Return the struct that a field says it is an attribute of."""
    return EVENT_TYPES[event_type] if field.origin[event_type] is Origin.EVENT else recipient_struct(event_type)


def json_types(struct: type[Struct], attribute: str) -> set[str]:
    """Return the types that the JSON Schema gives an attribute, null aside."""
    (encoded,) = (field.encode_name for field in msgspec.structs.fields(struct) if field.name == attribute)
    schema = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"][encoded]
    return {one["type"] for one in schema.get("anyOf", [schema])} - {"null"}


@pytest.mark.parametrize(("field", "event_type"), ATTRIBUTES)
def test_attribute_of_a_field_exists_in_the_struct_that_it_names(field: Field, event_type: str) -> None:
    assert field.attribute in owner(field, event_type).__struct_fields__


@pytest.mark.parametrize(("field", "event_type"), ATTRIBUTES)
def test_kind_of_a_field_is_that_of_its_attribute(field: Field, event_type: str) -> None:
    assert json_types(owner(field, event_type), field.attribute) <= JSON_TYPES[field.kind]


@pytest.mark.parametrize(("field", "event_type"), ATTRIBUTES)
def test_field_has_the_name_of_its_attribute_in_the_json(field: Field, event_type: str) -> None:
    if field.kind in {Kind.QUEUED_SECONDS, Kind.SOURCE_TYPE}:
        return  # made of another field
    struct = owner(field, event_type)
    (encoded,) = (one.encode_name for one in msgspec.structs.fields(struct) if one.name == field.attribute)
    assert encoded == field.name


@pytest.mark.parametrize("event_type", TYPES)
def test_every_attribute_of_an_event_has_a_field(event_type: str) -> None:
    shown = {field.attribute for field in FIELDS.values() if event_type in field.origin}
    unseen = {"v", "rcpts", "custom"} | ({"bounce_cat"} if event_type == "deferred" else set())
    attributes = {*EVENT_TYPES[event_type].__struct_fields__, *recipient_struct(event_type).__struct_fields__}
    assert attributes - shown == unseen


@pytest.mark.parametrize("field", FIELDS.values(), ids=str)
def test_field_is_found_by_its_name_and_documented(field: Field) -> None:
    assert FIELDS[field.name] is field
    assert field.meaning.endswith(".")
    assert field.source
    assert field.types
    assert set(field.origin) <= set(TYPES)


def test_default_columns_are_those_of_the_old_plugin() -> None:
    assert {name: ",".join(columns) for name, columns in DEFAULT_COLUMNS.items()} == {
        "delivered": COMMON,
        "deferred": COMMON + ",delay",
        "bounce": COMMON + ",bounceCat",
    }


@pytest.mark.parametrize("event_type", TYPES)
def test_default_columns_are_fields_that_the_type_has(event_type: str) -> None:
    assert all(event_type in FIELDS[column].types for column in DEFAULT_COLUMNS[event_type])


def test_page_has_a_line_for_each_field_with_the_types_that_have_it() -> None:
    page = markdown()
    for field in FIELDS.values():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{field.name}` |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1:4] == ["x" if event_type in field.types else "" for event_type in TYPES]
        assert cells[4:] == [field.meaning, field.source]


def test_tags_and_types_go_together() -> None:
    assert TYPES == ("delivered", "deferred", "bounce")
    assert {name: struct.__struct_config__.tag for name, struct in EVENT_TYPES.items()} == TAGS


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("custom_Subject", True),
        ("custom_x", True),
        ("custom_", False),
        ("Custom_x", False),
        ("rcpt", False),
        ("", False),
    ],
)
def test_custom_column_is_told_by_its_prefix(column: str, expected: bool) -> None:  # noqa: FBT001
    assert is_custom(column) is expected


@pytest.mark.parametrize(("column", "name"), [("custom_X-Campaign", "x-campaign"), ("custom_custom_a", "custom_a")])
def test_header_of_a_custom_column_is_in_lower_case(column: str, name: str) -> None:
    assert header_of(column) == name
