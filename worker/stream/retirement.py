"""Removing consumers that will not come back: by an operator's command, or once they were silent for long."""

from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.script import Script

_retire = Script("retire")

RETIRED = "retired"
_DAY_MS = 86_400_000

_ANSWERS = {
    "OK": RETIRED,
    "ALIVE": "stays: its lease lives",
    "UNKNOWN": "stays unknown: no such consumer",
    "PENDING": "stays: it has pending entries, which a worker takes over",
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


def retire_silent(connect: Connector, partition: str, silent_days: int) -> list[str]:
    """Remove consumers that have asked for nothing for so long, by the server's clock; returns their names."""
    link, keys = Link(connect), Keys.of(partition)
    link.open()
    try:
        return [name for name in _silent(link, keys, silent_days * _DAY_MS) if retire_on(link, keys, name) == RETIRED]
    finally:
        link.close()


def _silent(link: Link, keys: Keys, silent_ms: int) -> list[str]:
    """Return the consumers that are silent on every stream."""
    idle_ms: dict[str, int] = {}
    for key in keys.streams.values():
        for reply in link.call("XINFO", "CONSUMERS", key, GROUP):
            facts = dict(zip(reply[::2], reply[1::2], strict=True))
            name = facts[b"name"].decode("utf-8", "replace")
            idle_ms[name] = min(facts[b"idle"], idle_ms.get(name, facts[b"idle"]))
    return sorted(name for name, idle in idle_ms.items() if idle >= silent_ms)


def retire_on(link: Link, keys: Keys, consumer: str) -> str:
    """Do it on an open connection."""
    link.call("SCRIPT", "LOAD", _retire.source)
    reply: bytes = link.call(
        "EVALSHA", _retire.sha, 3 + len(keys.streams), keys.owners, keys.records, keys.lease(consumer),
        *keys.streams.values(), consumer, GROUP,
    )  # fmt: skip
    word, _, of = reply.decode("utf-8", "replace").partition(" ")
    return f"{_ANSWERS[word]} ({of})" if of else _ANSWERS[word]
