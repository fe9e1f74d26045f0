"""Settings as an operator changes them between two starts, or of one worker of a rolling change at a time."""

from datetime import timedelta, timezone
from typing import NamedTuple

from schemas.catalogue import DEFAULT_COLUMNS
from schemas.events import TYPES
from tests.support.workers import changed
from worker.settings import Format, Settings


class Change(NamedTuple):
    """Values of one part of the settings."""

    part: str
    values: dict[str, object]


_EAST = timezone(timedelta(hours=2))
_FEWER = {name: tuple(reversed(columns)) for name, columns in DEFAULT_COLUMNS.items()}

#: Each takes the place of the one before.
CHANGES: tuple[tuple[Change, ...], ...] = (
    (),
    (Change("directory", {"location": {name: f"open/{name}" for name in TYPES}}),),
    (Change("directory", {"archive_to": dict.fromkeys(TYPES, "done/old")}),),
    (Change("names", {"template": "{consumer}-{type}-{time}.{extension}", "extension": "log"}),),
    (Change("rows", {"format": Format.CSV, "separator": ","}), Change("names", {"extension": "csv"})),
    (Change("rows", {"format": Format.JSONL}), Change("names", {"extension": "jsonl"})),
    (Change("rows", {"format": Format.ORIGINAL, "separator": "\t"}),),
    (Change("rows", {"columns": _FEWER}),),
    (
        Change("rows", {"timezone": timezone(timedelta(hours=2))}),
        Change("names", {"timezone": timezone(timedelta(hours=2))}),
    ),
    (Change("rows", {"separator": ";"}),),
    (Change("rotation", {"archiving": False}),),
    (Change("rows", {"guarded": True}),),
)


def configured(settings: Settings, number: int) -> Settings:
    """Return settings with one of the changes."""
    for change in CHANGES[number % len(CHANGES)]:
        settings = changed(settings, change.part, **change.values)
    return settings
