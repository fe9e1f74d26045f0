"""What the server knows of directories: under which token each was started last, where, and who is at work in it."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.fields import is_count
from worker.stream.keys import Keys
from worker.stream.link import Connector, Link
from worker.stream.outdated import owners


class Claimed(NamedTuple):
    """The last start of a directory."""

    directory: str  # id
    number: int  # of its token
    random: str
    at_ms: int  # by the server's clock
    host: str
    path: str


def claimed(connect: Connector, partition: str) -> dict[str, Claimed]:
    """Return the last start of each directory, by id; what is none is left out. Raises StreamUnavailable."""
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        reply = link.call("HGETALL", keys.directories)
    finally:
        link.close()
    return claims(reply)


def claims(reply: Sequence[bytes]) -> dict[str, Claimed]:
    """Return what the key `directories` says, by directory id; what is no start is left out."""
    parsed = (_parsed(*pair) for pair in zip(reply[::2], reply[1::2], strict=True))
    return {each.directory: each for each in parsed if each}


def at_work(connect: Connector, partition: str, directory: str) -> list[str]:
    """Return the consumers that work in a directory by their leases, also in copies of it. Raises StreamUnavailable."""
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        names = [name for name, owner in owners(link, keys).items() if owner.home == directory]
        return sorted(name for name in names if link.call("EXISTS", keys.lease(name)))
    finally:
        link.close()


def _parsed(directory: bytes, stored: bytes) -> Claimed | None:
    """Read `<number> <random> <ms> <host> <path>`."""
    facts = stored.decode("utf-8", "replace").split(" ", 4)
    if len(facts) < 5 or not (is_count(facts[0]) and is_count(facts[2])):  # such as the placeholder
        return None
    number, random, at_ms, host, path = facts
    return Claimed(directory.decode("utf-8", "replace"), int(number), random, int(at_ms), host, path)
