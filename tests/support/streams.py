"""Streams without a worker around them: registered as from a directory whose other consumers are all at work in it."""

from worker.identity import Token
from worker.stream import Claim, Registration, Stream


def register(stream: Stream, directory: str = "dir", *, renew: bool = False) -> Registration:
    """Register under the token that the server has of a directory."""
    stored = stream._link.call("HGET", stream.keys.directories, directory)
    number, random = stored.decode().split(" ")[:2] if stored else ("0", "-")
    current = Token(int(number), random)
    owners = [name.decode() for name in stream._link.call("HKEYS", stream.keys.owners)]
    return stream.register(directory, Claim(current, current.successor(), owners), renew=renew)
