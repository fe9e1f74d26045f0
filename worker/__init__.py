"""The worker: reads events from Redis streams and writes accounting files, each row exactly once."""

__version__ = "0.1.0"
