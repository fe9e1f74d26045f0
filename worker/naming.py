"""Names of accounting files: `<d|df|b>.<yyyy-mm-dd-HHMMss>.<extension>`, or what the template says.

Pure. A name is never used twice in a directory, and a new one sorts after the last one given out: where the clock
does not give such a time (two files within a second, a step backwards, the autumn hour), the last time is kept and a
suffix `-1`, `-2` … counts on (protocol traps 16 and 36).
"""

import re
from datetime import datetime
from typing import NamedTuple

from schemas.events import TAGS
from worker.settings import NameSettings

_STAMP = r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{6})(?:-(?P<suffix>[1-9][0-9]{0,9}))?"


class Stamp(NamedTuple):
    """The part of a name that orders it: local time to the second, and a suffix (0: none)."""

    time: str
    suffix: int = 0

    def __str__(self) -> str:
        return f"{self.time}-{self.suffix}" if self.suffix else self.time

    @classmethod
    def parse(cls, text: str) -> "Stamp | None":
        """Return the stamp that `str` wrote, or None for anything else."""
        found = re.fullmatch(_STAMP, text)
        return cls(found["time"], int(found["suffix"] or 0)) if found else None

    @classmethod
    def at(cls, local: datetime) -> "Stamp":
        """Return the stamp of a time, which is local to the names' time zone."""
        return cls(local.strftime("%Y-%m-%d-%H%M%S"))

    def successor(self) -> "Stamp":
        """Return the next stamp within the same time."""
        return Stamp(self.time, self.suffix + 1)


def next_stamp(last: Stamp | None, now: datetime) -> Stamp:
    """Return a stamp that sorts after `last`; `now` is local to the names' time zone."""
    stamp = Stamp.at(now)
    return stamp if last is None or stamp > last else last.successor()


class Names:
    """Formats and parses the names of one type's files."""

    def __init__(self, settings: NameSettings, event_type: str, consumer: str) -> None:
        self._settings = settings
        self._values = {"type": TAGS[event_type], "consumer": consumer, "extension": settings.extension}
        parts = re.split(r"(\{\w+\})", settings.template)
        self._pattern = re.compile("".join(self._pattern_of(part) for part in parts))

    def _pattern_of(self, part: str) -> str:
        match part:
            case "{time}":
                return _STAMP
            case "{consumer}":  # another worker of the same directory may have written the file
                return r"[A-Za-z0-9._:-]+"
            case _ if part.startswith("{"):
                return re.escape(self._values[part[1:-1]])
            case _:
                return re.escape(part)

    def format(self, stamp: Stamp) -> str:
        """Return the name with this stamp."""
        return self._settings.template.format(time=stamp, **self._values)

    def parse(self, name: str) -> Stamp | None:
        """Return the stamp of a name of this type, or None for a foreign one."""
        found = self._pattern.fullmatch(name)
        return Stamp(found["time"], int(found["suffix"] or 0)) if found else None
