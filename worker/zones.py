"""Time zones by their IANA names, whoever wrote them: an ini, a manifest, a series. Pure."""

import re
from zoneinfo import ZoneInfo

#: Names that there are; zoneinfo takes another one for a path or a module, and fails in ways of its own.
_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,3}")


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of a name. Raises ValueError where none is known here."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:50]!r} is no name of a time zone")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError(f"no time zone {name!r} is known here") from error
