"""Redis streams: the only package that knows redis-py."""

from worker.stream.stream import Entries, Registration, Stream

__all__ = ["Entries", "Registration", "Stream"]
