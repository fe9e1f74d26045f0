"""What a partition needs before it is read: keys that exist, consumer groups, a server that does not evict.

Looks before it writes: a server at maxmemory refuses even writes that would change nothing, and must still be drained.
"""

import logging
from collections.abc import Sequence

from schemas.events import TYPES
from worker import records
from worker.errors import ServerRefused, StreamUnavailable
from worker.log import event
from worker.stream import outdated
from worker.stream.fitness import SECTIONS, Fitness, judge
from worker.stream.keys import COUNTERS, GROUP, PLACEHOLDER, Keys
from worker.stream.link import Link, Refused

_log = logging.getLogger(__name__)


def set_up(link: Link, keys: Keys, wanted: Sequence[str]) -> None:
    """Make every key that a script names exist (design section 3, placeholders); changes nothing that exists."""
    counters = [f"{event_type}:{counter}" for event_type in TYPES for counter in COUNTERS]
    for counter, value in zip(counters, link.call("HMGET", keys.ledger, *counters), strict=True):
        if value is None:
            link.call("HSETNX", keys.ledger, counter, 0)
    if not link.call("EXISTS", keys.epoch):
        link.call("SETNX", keys.epoch, 0)
    for key in (keys.producers, keys.owners, keys.records, keys.watch, keys.directories, keys.history, keys.written):
        if not link.call("EXISTS", key):
            link.call("HSETNX", key, PLACEHOLDER, "")
    for header in (PLACEHOLDER, *wanted):
        if not link.call("SISMEMBER", keys.wanted, header):
            link.call("SADD", keys.wanted, header)
    _create_streams(link, keys)


def _create_streams(link: Link, keys: Keys) -> None:
    """Create the streams, and the group of those that are read by it."""
    if not link.call("EXISTS", keys.dead):
        _create(link, keys.dead, "$")  # the only command that makes an empty stream
        link.call("XGROUP", "DESTROY", keys.dead, GROUP)
    if not link.call("EXISTS", keys.settled):
        link.call("XADD", keys.settled, "*", PLACEHOLDER, "")
    for event_type in TYPES:
        _create_group(link, keys, event_type)


def _create_group(link: Link, keys: Keys, event_type: str) -> None:
    """Create the consumer group of a stream, unless it exists.

    At the beginning where nothing was ever committed. Else somebody removed the group or the stream: at the lowest id
    that all consumers have acknowledged through (at `0` everything of the retention would be written again, protocol
    trap 31). What others acknowledged beyond that id comes again, and stands twice.
    """
    key = keys.streams[event_type]
    if link.call("EXISTS", key):
        groups = link.call("XINFO", "GROUPS", key)
        if any(GROUP.encode() in group for group in groups):
            return
    start = "0"
    counts = link.call("HMGET", keys.ledger, f"{event_type}:events", f"{event_type}:dead")
    if any(count not in {None, b"0"} for count in counts):  # what is no count hides one
        start = _acknowledged_through(link, keys, event_type)
        event(_log, "group.lost", logging.ERROR, stream=key, created_at=start, rows_after_it="may stand twice")
    _create(link, key, start)


def _create(link: Link, key: str, start: str) -> None:
    """Create the group at an id, and the stream if need be, unless another worker was quicker."""
    try:
        link.call("XGROUP", "CREATE", key, GROUP, start, "MKSTREAM")
    except Refused as error:
        if "BUSYGROUP" not in str(error):
            raise


def _acknowledged_through(link: Link, keys: Keys, event_type: str) -> str:
    """Return where the group of a type goes on.

    Raises ServerRefused where no record tells: then only a person can say it.
    """
    through = outdated.acknowledged_through(outdated.read(link, keys), event_type, outdated.trusted_ms(link, keys))
    if through is None:
        key = keys.streams[event_type]
        raise ServerRefused(
            f"{key}: consumer group {GROUP} is gone, and no record says how far it was; "
            f"create it at the last id that has rows: XGROUP CREATE {key} {GROUP} <id>"
        )
    return through


def acknowledged_through(link: Link, keys: Keys) -> dict[str, str]:
    """Return, by type, the id through which all that was given to anybody is acknowledged."""
    through = {}
    for event_type, key in keys.streams.items():
        pending, lowest, *_ = link.call("XPENDING", key, GROUP)
        if pending:
            through[event_type] = records.id_before(lowest.decode("ascii"))
            continue
        for group in link.call("XINFO", "GROUPS", key):
            facts = dict(zip(group[::2], group[1::2], strict=True))
            if facts[b"name"] == GROUP.encode():
                through[event_type] = facts[b"last-delivered-id"].decode("ascii")
    return through


def check_server(link: Link) -> list[str]:
    """Look at the server's settings; returns warnings.

    Raises ServerRefused for what deletes streams or lacks what is used, StreamUnavailable for a replica.
    """
    try:
        fit = fitness_of(link)
    except Refused as error:
        return [f"the server's settings could not be checked: {error}"]
    if fit.refusal:
        raise ServerRefused(fit.refusal)
    if fit.trouble:
        raise StreamUnavailable(fit.trouble)
    return list(fit.warnings)


def fitness_of(link: Link) -> Fitness:
    """Return what the server's settings say. Raises Refused where they are not told."""
    facts: dict[str, str] = {}
    for section in SECTIONS:
        facts |= info(link, section)
    return judge(facts)


def run_id(link: Link) -> str:
    """Return what tells the server's process from every other one; empty where it does not say."""
    try:
        return info(link, "server").get("run_id", "")
    except Refused:
        return ""


def info(link: Link, section: str) -> dict[str, str]:
    """Return a section of INFO."""
    reply: bytes = link.call("INFO", section)
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}
