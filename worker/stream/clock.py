"""The server's clock, and ids that are ahead of it.

Redis gives an entry the server's time as its id, and never a lower id than the last one. Where the server's clock went
ahead and was put right, ids stay at the highest time that there was until the clock comes there again: entries that
arrive meanwhile do not say when they did.
"""

from collections.abc import Sequence

from msgspec import Struct

from worker.stream.keys import Keys
from worker.stream.link import Connector, Link

#: By less, two servers of a failover can differ.
TOLERATED_MS = 60_000


class Ahead(Struct, frozen=True, kw_only=True):
    """A stream whose newest id is ahead of the server's clock."""

    type: str
    id: str  # the newest one that it gave out
    ahead_ms: int

    def __str__(self) -> str:
        """Return what people should know of it."""
        return (
            f"{self.type}: the newest id, {self.id}, is {_duration(self.ahead_ms)} ahead of the server's clock, which "
            "was set back; what arrived since has ids of that time, and no range by times finds it where it belongs"
        )


class ServerClock(Struct, frozen=True, kw_only=True):
    """The server's clock, beside its ids."""

    now_ms: int
    ahead: Sequence[Ahead]  # streams whose newest ids are ahead of it by more than is tolerated


def server_ms(link: Link) -> int:
    """Return the server's time."""
    seconds, microseconds = link.call("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


def newest_ids(link: Link, keys: Keys) -> dict[str, str]:
    """Return the last id that each stream gave out, by type; a stream that is not there is left out."""
    found = {}
    for event_type, key in keys.streams.items():
        if link.call("EXISTS", key):
            reply = link.call("XINFO", "STREAM", key)
            facts = dict(zip(reply[::2], reply[1::2], strict=True))
            found[event_type] = facts[b"last-generated-id"].decode("ascii")
    return found


def read_clock(connect: Connector, partition: str) -> ServerClock:
    """Compare the server's clock with the ids that it gives out. Raises StreamUnavailable."""
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        newest, now_ms = newest_ids(link, keys), server_ms(link)
    finally:
        link.close()
    leads = {name: int(entry_id.partition("-")[0]) - now_ms for name, entry_id in newest.items()}
    ahead = [Ahead(type=name, id=newest[name], ahead_ms=lead) for name, lead in leads.items() if lead > TOLERATED_MS]
    return ServerClock(now_ms=now_ms, ahead=ahead)


def _duration(ms: int) -> str:
    hours = ms / 3_600_000
    return (
        f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours" if hours >= 2 else f"{ms // 60_000} minutes"
    )
