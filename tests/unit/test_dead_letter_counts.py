"""As how many events a retried letter is published: as many as a worker counts when it reads it."""

import pytest

from schemas.catalogue import DEFAULT_COLUMNS
from tests.support.events import encode, make_event
from worker.decode import Decoder
from worker.stream.dead_letters import Letter

GOOD = encode([make_event("bounce", 1)])[1:-1]


@pytest.mark.parametrize(
    ("index", "payload", "count"),
    [
        (0, GOOD, 1),
        (0, b"not json", 1),
        (3, GOOD + b"," + GOOD, 2),  # added by hand
        (-1, b"[" + GOOD + b"," + GOOD + b"," + GOOD + b"]", 3),
        (-1, b"[" + GOOD + b',{"bad":1}]', 2),
        (-1, b"[]", 1),
        (-1, b"", 1),
        (-1, b'{"no":"array"}', 1),
        (-1, b"\xff\xff", 1),
        (-1, b"[" * 100_000, 1),
    ],
)
def test_a_letter_is_published_as_what_the_worker_will_count(index: int, payload: bytes, count: int) -> None:
    letter = Letter(id="1-0", type="bounce", entry_id="1-0", index=index, payload=payload, error="")
    entry = payload if index == -1 else b"[" + payload + b"]"
    decoded = Decoder("bounce", DEFAULT_COLUMNS["bounce"]).decode([(b"1-0", [b"events", entry])])
    assert letter.event_count == count
    assert sum(map(len, decoded.events)) + len(decoded.dead) == count
