"""Exports: a line is an entry or refused; an entry's bytes, whatever they are, come back from its line."""

from schemas.events import TYPES
from tests.fuzz.choices import Choices
from worker.replay.ndjson import line_of, parse
from worker.replay.span import is_id


def check(data: bytes) -> None:
    """Read the input as a line, and write it as an entry."""
    choices = Choices(data)
    event_type, payload = choices.one(TYPES), choices.rest()
    entry = (b"1795373309671-0", [b"events", payload])
    line = line_of(event_type, entry)
    assert line.count(b"\n") == 1
    assert parse(line) == (event_type, (entry[0], tuple(entry[1])))
    try:
        found_type, (entry_id, _) = parse(payload)
    except ValueError as error:
        assert "expected" in str(error)
        return
    assert found_type in TYPES
    assert is_id(entry_id.decode("ascii"))
