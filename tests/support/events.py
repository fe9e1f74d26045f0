"""Events as the plugin publishes them, numbered so that a row tells which event it came from."""

import json
from collections.abc import Iterable

from schemas.events import TAGS


def make_event(event_type: str, number: int, *, recipients: int = 1, **extra: object) -> dict[str, object]:
    """Return event number `number` of a type; its recipients are `<type><number>.<i>@example.com`."""
    rcpts: list[dict[str, str]] = [{"rcpt": f"{event_type}{number}.{index}@example.com"} for index in range(recipients)]
    if event_type != "delivered":
        rcpts = [rcpt | {"dsnStatus": "4.2.1", "dsnMsg": f"mailbox {number} says no"} for rcpt in rcpts]
    return {
        "eventId": f"mx1-test-{number}:0",
        "type": TAGS[event_type],
        "v": 1,
        "timeLogged": 1_795_373_309_671 + number,
        "timeQueued": 1_795_373_300_000,
        "jobId": f"JOB-{number}.1",
        "rcpts": rcpts,
        **extra,
    }


def recipients_of(events: Iterable[dict[str, object]]) -> list[str]:
    """Return every recipient of these events: what the rows must show, each once."""
    return [rcpt["rcpt"] for event in events for rcpt in event["rcpts"]]  # type: ignore[attr-defined]


def encode(events: list[dict[str, object]]) -> bytes:
    """Return the JSON array of an entry."""
    return json.dumps(events, separators=(",", ":"), ensure_ascii=False).encode()
