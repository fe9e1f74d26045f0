"""Names of time zones: what stands in an ini or a manifest is one, or refused; it leads nowhere else."""

import zoneinfo
from datetime import UTC

import pytest

from config.values import zone
from worker.reading.instants import zone_called
from worker.zones import zone_of

HOSTILE = [
    "." * 5000, "a/" * 3000, "../../etc/passwd", "/etc/localtime", "Europe/../UTC", "\0", "Europe/Berlin\n", "Europe",
    "", "\u0665", "x" * 10_000, "Europe/", "posix/" * 900 + "UTC", "localtime.py", "Mars/Olympus",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_zone_is_refused_and_is_not_the_zone_of_a_file(name: str) -> None:
    with pytest.raises(ValueError, match=r"no name of a time zone|no time zone"):
        zone_of(name)
    assert zone_called(name, UTC) is UTC
    if name:
        with pytest.raises(ValueError, match="expected local, UTC or an IANA name"):
            zone(name)


def test_every_zone_that_there_is_can_be_had() -> None:
    for name in zoneinfo.available_timezones():
        assert str(zone_of(name)) == name
