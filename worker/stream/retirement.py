"""Removing consumers that will not come back: by an operator's command, or once they were silent for long."""

from worker.stream.keys import GROUP, Keys
from worker.stream.link import Connector, Link
from worker.stream.script import Script

_retire = Script("retire")

RETIRED = "retired"

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


def retire_on(link: Link, keys: Keys, consumer: str) -> str:
    """Do it on an open connection."""
    link.call("SCRIPT", "LOAD", _retire.source)
    reply: bytes = link.call(
        "EVALSHA", _retire.sha, 3 + len(keys.streams), keys.owners, keys.records, keys.lease(consumer),
        *keys.streams.values(), consumer, GROUP,
    )  # fmt: skip
    word, _, of = reply.decode("utf-8", "replace").partition(" ")
    return f"{_ANSWERS[word]} ({of})" if of else _ANSWERS[word]
