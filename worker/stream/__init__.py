"""Redis streams: the only package that knows redis-py."""

from worker.stream.fleet import Seized
from worker.stream.link import Connector
from worker.stream.stream import Entries, Pending, Registration, Stream

__all__ = ["Connector", "Entries", "Pending", "Registration", "Seized", "Stream"]
