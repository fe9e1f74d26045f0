"""Redis streams: the only package that knows redis-py."""

from worker.stream.fleet import Seized, Unreadable
from worker.stream.link import Connector
from worker.stream.registration import Claim, ClaimedBefore, Registration
from worker.stream.stream import Entries, Pending, Stream

__all__ = [
    "Claim", "ClaimedBefore", "Connector", "Entries", "Pending", "Registration", "Seized", "Stream", "Unreadable",
]  # fmt: skip
