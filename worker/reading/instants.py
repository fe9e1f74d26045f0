"""Instants: from the local times that stand in files to seconds since the epoch. Pure."""

from datetime import UTC, datetime, tzinfo

from worker.zones import zone_of


def logged_second(text: str, timezone: tzinfo, earliest: int | None = None) -> int | None:
    """Return the second that `yyyy-mm-dd HH:MM:ss` names, None for anything else.

    In the hour that autumn repeats it is the first one, unless that is before the earliest of its file.
    """
    try:
        local = datetime.fromisoformat(text).replace(tzinfo=timezone)
        second = int(local.timestamp())
        if earliest is not None and second < earliest:
            second = int(local.replace(fold=1).timestamp())
    except (ValueError, OverflowError):
        return None
    return second


def zone_called(name: str | None, otherwise: tzinfo) -> tzinfo:
    """Return the time zone that a manifest names; `otherwise` where it names none that is known here."""
    if name == str(UTC):
        return UTC
    try:
        return zone_of(name) if name else otherwise
    except ValueError:
        return otherwise
