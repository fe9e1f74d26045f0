"""Removing consumers that will not come back: by an operator's command, or once they were silent for long."""

from collections.abc import Mapping, Sequence

from worker.elapsed import MACHINE, Clocks
from worker.stream import outdated
from worker.stream.clock import server_ms
from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.outdated import Known, Owner
from worker.stream.script import Script
from worker.stream.time_line import is_steady

_retire, _supersede = Script("retire"), Script("supersede")

RETIRED = "retired"

_ANSWERS = {
    "OK": RETIRED,
    "ALIVE": "stays: its lease lives",
    "UNKNOWN": "stays unknown: no such consumer",
    "PENDING": "stays: it has pending entries, which a worker takes over",
    "RECORD": "stays: it has a record that no worker wrote, which has to be removed by hand",
    "FILE": "stays: it has a file that is not sealed, which a worker of its directory seals",
}


def retire(connect: Connector, partition: str, consumer: str) -> str:
    """Remove a consumer; returns RETIRED, or why it stays, in words. Raises StreamUnavailable."""
    link = Link(connect)
    link.open()
    try:
        return retire_on(link, Keys.of(partition), consumer)
    finally:
        link.close()


def retire_silent(connect: Connector, partition: str, silent_days: int, clocks: Clocks = MACHINE) -> list[str]:
    """Remove consumers that were not heard of for so long, by the server's clock; returns their names.

    None while that clock has not gone along with the time that passed for as long.
    """
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        if not is_steady(link, keys, silent_days * outdated.DAY_MS, clocks):
            return []
        owners, now_ms = outdated.owners(link, keys), server_ms(link)
        seen_ms = _last_seen(link, keys, owners, now_ms)
        silent = sorted(name for name, seen in seen_ms.items() if now_ms - seen >= silent_days * outdated.DAY_MS)
        stored = {name: owners[name].stored if name in owners else b"" for name in silent}
        return [name for name in silent if retire_on(link, keys, name, stored[name]) == RETIRED]
    finally:
        link.close()


def drop_superseded(connect: Connector, partition: str) -> list[str]:
    """Remove records that name no file, of directories that their consumers have left; returns the consumers' names."""
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        link.call("SCRIPT", "LOAD", _supersede.source)
        known = outdated.read(link, keys)
        return [one.consumer for one in known if _is_left(one, known) and _drop(link, keys, one)]
    finally:
        link.close()


def _is_left(one: Known, known: Sequence[Known]) -> bool:
    return not one.record.files and not one.record.closing and outdated.is_superseded(one, known)


def _drop(link: Link, keys: Keys, one: Known) -> bool:
    arguments = (one.consumer, one.directory, one.stored, one.home)
    return bool(link.call("EVALSHA", _supersede.sha, 2, keys.owners, keys.records, *arguments))


def _last_seen(link: Link, keys: Keys, owners: Mapping[str, Owner], now_ms: int) -> dict[str, int]:
    """Return when each consumer was last heard of, in ms by the server's clock.

    By the group, which forgets its consumers where it is made anew, or by its epoch. By the clock of the worker, which
    can be wrong, only where the server knows nothing but a record.
    """
    seen_ms = {name: owner.registered_ms for name, owner in owners.items()}
    for key in keys.streams.values():
        for reply in link.call("XINFO", "CONSUMERS", key, GROUP):
            facts = dict(zip(reply[::2], reply[1::2], strict=True))
            name = facts[b"name"].decode("utf-8", "replace")
            seen_ms[name] = max(seen_ms.get(name, 0), now_ms - facts[b"idle"])
    for one in outdated.read(link, keys):
        seen_ms.setdefault(one.consumer, one.seen_ms)
    return seen_ms


def retire_on(link: Link, keys: Keys, consumer: str, owner: bytes | None = None) -> str:
    """Do it on an open connection; with `owner`, only where that is still what the server has of the consumer."""
    link.call("SCRIPT", "LOAD", _retire.source)
    seen = () if owner is None else (owner,)
    reply: bytes = link.call(
        "EVALSHA", _retire.sha, 3 + len(keys.streams), keys.owners, keys.records, keys.lease(consumer),
        *keys.streams.values(), consumer, GROUP, *seen,
    )  # fmt: skip
    word, _, of = reply.decode("utf-8", "replace").partition(" ")
    return f"{_ANSWERS[word]} ({of})" if of else _ANSWERS[word]
