"""Ways in which a server forgets what it had acknowledged."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.field.site import KEYS, Site

#: Is entered when the server still has all, before what it forgets is written; what is behind its `yield` forgets it.
Forgetting = Callable[[Site], Iterator[None]]


def emptied(site: Site) -> Iterator[None]:
    """Start it without its data: another disk, a container without a volume."""
    yield
    site.server.kill()
    shutil.rmtree(site.server.settings.directory)
    site.server.start()
    site.server_is_new()


def flushall(site: Site) -> Iterator[None]:
    """FLUSHALL, in the wrong terminal."""
    yield
    site.client.flushall()


def flushdb_async(site: Site) -> Iterator[None]:
    """FLUSHDB ASYNC."""
    yield
    site.client.flushdb(asynchronous=True)


def restored(site: Site) -> Iterator[None]:
    """Start it again on a copy of its append-only file: a snapshot, a replica that lagged."""
    copy = site.server.copy()
    yield
    site.server.roll_back(copy)
    site.server_is_new()


def snapshot_only(site: Site) -> Iterator[None]:
    """`CONFIG SET appendonly no` at work, and a crash later: what was written since is gone."""
    site.client.config_set("appendonly", "no")
    yield
    site.server.kill()
    site.server.start()
    site.server_is_new()


def keys_restored(site: Site) -> Iterator[None]:
    """Every key put back to what a dump of an hour ago says, by the process that runs."""
    dump = {key: site.client.dump(key) for key in site.client.keys("*")}
    yield
    site.client.flushall()
    for key, content in dump.items():
        site.client.restore(key, 0, content)


def _without(*keys: str) -> Forgetting:
    def forget(site: Site) -> Iterator[None]:
        yield
        site.client.delete(*keys)

    return forget


def everything_but_streams(site: Site) -> Iterator[None]:
    """All keys but the streams, deleted by somebody who tidies up."""
    yield
    streams = {key.encode() for key in KEYS.streams.values()}
    site.client.delete(*(key for key in site.client.keys("*") if key not in streams))


ALL: dict[str, Forgetting] = {
    "emptied": emptied, "flushall": flushall, "flushdb-async": flushdb_async, "restored": restored,
    "snapshot-only": snapshot_only, "keys-restored": keys_restored, "everything-but-streams": everything_but_streams,
    "no-records": _without(KEYS.records), "no-owners": _without(KEYS.owners), "no-epoch": _without(KEYS.epoch),
    "no-records-nor-owners": _without(KEYS.records, KEYS.owners), "no-directories": _without(KEYS.directories),
    "no-history": _without(KEYS.history), "no-ledger": _without(KEYS.ledger), "no-producers": _without(KEYS.producers),
    "no-streams": _without(*KEYS.streams.values()), "no-delivered": _without(KEYS.streams["delivered"]),
    "no-streams-nor-producers": _without(*KEYS.streams.values(), KEYS.producers),
    "no-streams-nor-records": _without(*KEYS.streams.values(), KEYS.records),
    "no-history-nor-written": _without(KEYS.history, KEYS.written),
}  # fmt: skip


@contextmanager
def forgetting(site: Site, how: str) -> Iterator[None]:
    """Write what is to be forgotten inside; it is forgotten at the end."""
    steps = ALL[how](site)
    next(steps)
    yield
    next(steps, None)
