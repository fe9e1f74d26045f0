"""The keys of a partition (design section 3). They share one hash tag, so a script can touch all of them."""

from typing import NamedTuple

from schemas.events import TYPES

GROUP = "accounting"

#: A field or member that keeps a key in existence; no consumer, producer, header or counter is called so.
PLACEHOLDER = "-"

#: The ledger's counters of each type.
COUNTERS = (
    "published", "duplicates", "gap", "events", "rows", "dead", "lost", "retried", "dropped", "trimmed", "replayed",
    "foreign",
)  # fmt: skip


_TYPES = {
    **dict.fromkeys((*TYPES, "dead", "settled"), "stream"),
    **dict.fromkeys(("producers", "owners", "records", "ledger", "nodes", "watch"), "hash"),
    **dict.fromkeys(("history", "written", "directories"), "hash"),
    "epoch": "string",
    "wanted": "set",
    "lease": "string",
}


def type_of(key: str) -> str | None:
    """Return the type that a key of a partition has, as Redis calls it; None for a key that is none of ours."""
    name = key.partition("}:")[2]
    return _TYPES.get("lease" if name.startswith("lease:") else name)


class Keys(NamedTuple):
    """Every key of one partition, as Redis knows it."""

    streams: dict[str, str]  # by type
    dead: str
    producers: str
    epoch: str
    owners: str
    records: str
    ledger: str
    wanted: str
    nodes: str  # the plugins' notes on their producers, for people
    watch: str  # what the workers' chores remember from one look at the streams to the next
    settled: str  # a stream: which dead letters were retried or dropped, for the audit
    history: str  # what the server has remembered since it last forgot something (design section 7)
    written: str  # keys of entries that have rows, while what the server forgot may come again
    directories: str  # by directory id: the token under which it was started last, when, and where
    lease_prefix: str

    @classmethod
    def of(cls, partition: str) -> "Keys":
        """Return the keys with this hash tag (without braces)."""
        base = f"{{{partition}}}"
        names = (
            "dead", "producers", "epoch", "owners", "records", "ledger", "wanted", "nodes", "watch", "settled",
            "history", "written", "directories", "lease:",
        )  # fmt: skip
        return cls({name: f"{base}:{name}" for name in TYPES}, *(f"{base}:{name}" for name in names))

    def lease(self, consumer: str) -> str:
        """Return the key whose existence says that a consumer is alive and makes progress."""
        return self.lease_prefix + consumer
