"""What the server of the simulation acknowledged, to whom, and what of it it forgot: what files have to hold then.

A row may stand twice for one reason alone (design section 5, step 10): the server forgot that its entry was
acknowledged, and delivered it again to a process that had not written it. So a row stands at most once for each
process whose commit of its entry ran. And a row that was acknowledged is in the files, whatever the server has
forgotten, while a process lives that knows of the commit, or the server does; of one that nobody knows of any more, it
is in `recovered/`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas.events import TYPES
from tests.crash.process import Process
from tests.support.events import recipients_of
from worker.stream.keys import Keys
from worker.stream.script import Script

_COMMIT, _REGISTER = Script("commit").sha, Script("register").sha
_FIRST = 10  # arguments of the commit script before those of the types
_PER_TYPE, _IDS = 9, 6  # so many for each: the first is the type, and one its ids


@dataclass(eq=False)
class Commit:
    """A commit that ran: the recipients whose entries it acknowledged, by entry, and who knows that it ran."""

    process: Process
    owner: bytes  # consumer and directory: the field of its record
    restores: bool
    entries: dict[tuple[bytes, ...], list[str]]  # by type, id and bytes
    known_by: set[Process] = field(default_factory=set)
    is_forgotten: bool = False
    is_abandoned: bool = False  # neither the server nor anybody who lives knows of it


class Witness:
    """Hears of each commit that runs, of each process that learns of it or dies, and of what the server forgets."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self.commits: list[Commit] = []
        self._client = client
        self._keys = keys
        self._living: set[Process] = set()
        self._saved = 0

    def hears(self, process: Process, request: Sequence[Any], reply: object) -> list[Commit]:
        """Hear what the server did; returns the commits of which the reply tells."""
        if request[0] != "EVALSHA":
            return []
        arguments = request[3 + int(request[2]) :]
        owner = f"{arguments[0]} {arguments[1]}".encode()
        if request[1] == _COMMIT and isinstance(reply, list) and reply[0] == b"OK":
            commit = Commit(
                process, owner, restores=str(arguments[3]) == "1", entries=self._entries(arguments[_FIRST:])
            )
            again = {entry for each in self.commits if not each.is_forgotten for entry in each.entries}
            assert not again & commit.entries.keys(), f"acknowledged twice: {again & commit.entries.keys()}"
            self.commits.append(commit)
            return [commit]
        if request[1] == _REGISTER and isinstance(reply, list) and reply[0] == b"OK":
            return [commit for commit in self.commits if commit.owner == owner and self._is_recorded(commit)]
        return []

    def _entries(self, arguments: Sequence[Any]) -> dict[tuple[bytes, ...], list[str]]:
        """Return the entries that a commit acknowledges, each with its recipients."""
        entries: dict[tuple[bytes, ...], list[str]] = {}
        for number, event_type in enumerate(TYPES):
            assert arguments[number * _PER_TYPE] == event_type
            for entry_id in arguments[number * _PER_TYPE + _IDS].split():
                [(_, fields)] = self._client.xrange(self._keys.streams[event_type], entry_id, entry_id)
                content = fields[b"events"]
                entries[event_type.encode(), entry_id, content] = recipients_of(msgspec.json.decode(content))
        return entries

    def learns(self, process: Process, commits: Iterable[Commit]) -> None:
        """Note that a reply arrived, and told a process of commits."""
        self._living.add(process)
        for commit in commits:
            commit.known_by.add(process)

    def died(self, process: Process) -> None:
        """Note that a process is gone, and with it what it alone knew."""
        self._living.discard(process)
        self._abandon()

    def saved(self) -> None:
        """Remember the moment: what comes after it may be forgotten."""
        self._saved = len(self.commits)

    def forgot(self) -> None:
        """Note that the server forgot what ran since that moment."""
        for commit in self.commits[self._saved :]:
            commit.is_forgotten = True
        self._abandon()

    def _is_recorded(self, commit: Commit) -> bool:
        """Tell whether the record counts a commit: it is as it was then or later, or it was put back by who knew."""
        if not commit.is_forgotten:
            return True
        return any(
            each.restores and each.owner == commit.owner and not each.is_forgotten and each.process in commit.known_by
            for each in self.commits[self.commits.index(commit) :]
        )

    def _abandon(self) -> None:
        for commit in self.commits:
            if not commit.known_by & self._living and not self._is_recorded(commit):
                commit.is_abandoned = True

    def must_stand(self) -> set[str]:
        """Return the recipients of what was acknowledged and has to be in the files."""
        return self._recipients(commit for commit in self.commits if not commit.is_abandoned)

    def acknowledged(self) -> set[str]:
        """Return all recipients of what was ever acknowledged."""
        return self._recipients(self.commits)

    def _recipients(self, commits: Iterable[Commit]) -> set[str]:
        return {name for commit in commits for names in commit.entries.values() for name in names}

    def most(self) -> Counter[str]:
        """Return how often each recipient may stand in the files, where it was acknowledged at all."""
        writers: dict[tuple[bytes, ...], set[Process]] = defaultdict(set)
        names: dict[tuple[bytes, ...], Sequence[str]] = {}
        for commit in self.commits:
            for entry, recipients in commit.entries.items():
                writers[entry].add(commit.process)
                names[entry] = recipients
        most: Counter[str] = Counter()
        for entry, processes in writers.items():
            for recipient in names[entry]:
                most[recipient] += len(processes)
        return most
