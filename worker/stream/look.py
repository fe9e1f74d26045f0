"""One look at a partition from outside: what cannot be read is noted, and counts as empty."""

from typing import Any

from worker.stream.fitness import Fitness
from worker.stream.keys import GROUP, PLACEHOLDER, Keys
from worker.stream.link import Link, Refused
from worker.stream.setup import fitness_of

LONGEST_TROUBLE = 500  # characters
TROUBLES_AT_MOST = 100
_SHOWN = 40  # characters of what cannot be read


class Look:
    """One look at a partition; what the server refuses is a trouble, and counts as empty."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self.keys = keys
        self.troubles: list[str] = []

    def ask(self, empty: Any, *request: object) -> Any:  # noqa: ANN401 - as Redis sends it
        """Return a reply, or what stands for an empty one."""
        try:
            return self._link.call(*request)
        except Refused as error:
            self.trouble(str(error))
            return empty

    def trouble(self, text: str) -> None:
        """Note, once, what cannot be read: so much of so many, since somebody else wrote it."""
        text = text if len(text) <= LONGEST_TROUBLE else f"{text[:LONGEST_TROUBLE]}…"
        if text in self.troubles or len(self.troubles) > TROUBLES_AT_MOST:
            return
        self.troubles.append(text if len(self.troubles) < TROUBLES_AT_MOST else "and more that cannot be read")

    def fitness(self) -> Fitness:
        """Return what the server's settings say."""
        try:
            return fitness_of(self._link)
        except Refused as error:
            self.trouble(str(error))
            return Fitness()

    def group(self, key: str) -> dict[str, Any] | None:
        """Return what is known of the workers' group on a stream, None where there is none."""
        try:
            return group_of(self._link, key)
        except Refused as error:
            self.trouble(str(error))
            return None

    def pairs(self, key: str) -> dict[str, bytes]:
        """Return the fields of a hash but for the placeholder."""
        reply = self.ask([], "HGETALL", key)
        found = zip(reply[::2], reply[1::2], strict=True)
        return {name.decode("utf-8", "replace"): value for name, value in found if name != PLACEHOLDER.encode()}


def group_of(link: Link, key: str) -> dict[str, Any] | None:
    """Return what XINFO says of our group, or None where the stream or the group is missing."""
    if not link.call("EXISTS", key):
        return None
    for group in link.call("XINFO", "GROUPS", key):
        facts = {name.decode(): value for name, value in zip(group[::2], group[1::2], strict=True)}
        if facts["name"] == GROUP.encode():
            return facts
    return None


def cut(value: bytes) -> str:
    """Return the beginning of what somebody else wrote, without anything that a terminal obeys."""
    text = value.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
