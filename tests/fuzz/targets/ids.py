"""Ids, times and expressions: a text from outside is one of them, or refused in the words of whoever reads it."""

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from worker import cron
from worker.event_keys import by_itself, keys_of
from worker.numbers import events_in, numbers_of
from worker.reading.instants import logged_second, zone_called
from worker.records import id_before, id_order
from worker.replay.span import instant_of, is_id

_NOW = datetime(2026, 11, 22, 21, 55, tzinfo=UTC)
_ZONE = ZoneInfo("Europe/Berlin")


def check(data: bytes) -> None:
    """Read the input as each of them."""
    text = data.decode("utf-8", "replace")
    if is_id(text):
        assert id_order(text) == (0, 0) or id_order(id_before(text)) < id_order(text)
        assert instant_of(text, _ZONE).year <= 9999
    assert logged_second(text, _ZONE, 0) is None or len(text) >= len("20261122")
    assert isinstance(zone_called(text, UTC).utcoffset(_NOW), timedelta)
    assert len(list(keys_of(by_itself(b"1795373309671-0", text)))) <= 1
    fields = [b"n", data, b"at", data]
    assert events_in(fields) >= 1
    assert numbers_of(fields) is None or data.isdigit()
    with contextlib.suppress(ValueError):
        following = cron.next_instant(cron.parse(text), _ZONE, _NOW)
        assert following is None or following > _NOW
