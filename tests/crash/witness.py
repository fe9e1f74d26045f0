"""What the server of the simulation acknowledged, and who knows of it: what files have to hold in the end.

A row that was acknowledged stands in the files while anybody knows that it was: the server's record, a process that
lives, or a journal on a disk. One of which nobody knows any more is kept aside in `recovered/`: its process died before
it heard of the acknowledgement, or its machine lost power before the journal was durable, and the server forgot.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import TYPES
from tests.crash.process import Process
from tests.support.events import recipients_of
from worker.stream.keys import Keys
from worker.stream.script import Script

_COMMIT = Script("commit").sha
_FIRST = 10  # arguments of the commit script before those of the types
_PER_TYPE, _IDS = 9, 6  # so many for each: the first is the type, and one its ids


@dataclass(eq=False)
class Commit:
    """A commit that ran: the recipients whose entries it acknowledged, by entry, and who knows that it ran."""

    process: Process
    consumer: str
    directory: str  # id
    batch: int
    entries: dict[tuple[bytes, ...], list[str]]  # by type, id and bytes
    known_by: set[Process] = field(default_factory=set)
    is_forgotten: bool = False
    is_abandoned: bool = False  # neither the server nor a living process nor a journal knows of it
    are_keys_lost: bool = False  # a power cut took what the journal said of its events


class Witness:
    """Hears of each commit that runs, of each process that learns of it or dies, and of what the server forgets."""

    def __init__(self, client: Any, keys: Keys, paths: Sequence[Path]) -> None:
        self.commits: list[Commit] = []
        self._client = client
        self._keys = keys
        self._paths = paths
        self._living: set[Process] = set()
        self._saved = 0

    def hears(self, process: Process, request: Sequence[Any], reply: object) -> list[Commit]:
        """Hear what the server did; returns the commits of which the reply tells."""
        if request[0] != "EVALSHA" or request[1] != _COMMIT or not isinstance(reply, list) or reply[0] != b"OK":
            return []
        arguments = request[3 + int(request[2]) :]
        entries = self._entries(arguments[_FIRST:])
        again = {entry for each in self.commits if not each.is_forgotten for entry in each.entries}
        assert not again & entries.keys(), f"acknowledged twice: {again & entries.keys()}"
        commit = Commit(process, arguments[0], arguments[1], int(arguments[4]), entries)
        self.commits.append(commit)
        return [commit]

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
        self.looks()

    def saved(self) -> None:
        """Remember the moment: what comes after it may be forgotten."""
        self._saved = len(self.commits)

    def forgot(self, *, everything: bool = False) -> None:
        """Note that the server forgot what ran since that moment, or all."""
        for commit in self.commits[0 if everything else self._saved :]:
            commit.is_forgotten = True
        self.looks()

    def looks(self) -> None:
        """See which commits nobody knows of any more; to be asked whenever somebody may have forgotten one."""
        journals = [known for path in self._paths for known in _journals(path)]
        for commit in self.commits:
            owner = commit.consumer, commit.directory
            if commit.is_abandoned or commit.known_by & self._living or self._recorded(*owner) >= commit.batch:
                continue
            commit.is_abandoned = all(known[:2] != owner or known[2] < commit.batch for known in journals)

    def power_was_cut(self, path: Path) -> None:
        """See of which commits a journal does not know the events any more; their records may be on the server."""
        for known in _journals(path):
            for commit in self.commits:
                is_later = known[:2] == (commit.consumer, commit.directory) and commit.batch > known[2]
                commit.are_keys_lost |= is_later and commit.batch not in known[3]
        self.looks()

    def _recorded(self, consumer: str, directory: str) -> int:
        stored = self._client.hget(self._keys.records, f"{consumer} {directory}")
        return int(json.loads(stored)["batch"]) if stored else 0

    def must_stand(self) -> set[str]:
        """Return the recipients of what was acknowledged and has to be in the files."""
        return self._recipients(commit for commit in self.commits if not commit.is_abandoned)

    def without_keys(self) -> set[str]:
        """Return the recipients of what stands in files and cannot be recognised when it comes again."""
        return self._recipients(commit for commit in self.commits if commit.are_keys_lost)

    def abandoned(self) -> set[str]:
        """Return the recipients of what nobody knows to be acknowledged."""
        return self._recipients(commit for commit in self.commits if commit.is_abandoned)

    def acknowledged(self) -> set[str]:
        """Return all recipients of what was ever acknowledged."""
        return self._recipients(self.commits)

    def _recipients(self, commits: Iterable[Commit]) -> set[str]:
        return {name for commit in commits for names in commit.entries.values() for name in names}


def _journals(path: Path) -> Iterator[tuple[str, str, int, set[int]]]:
    """Yield of each journal, read as any program could, consumer, directory id, its last record's number, intents."""
    folder = path / "journal"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in (each for each in files if not each.name.endswith("~new")):  # never put in place: nobody reads it
        head, *lines = [_line(line) for line in file.read_bytes().split(b"\n")]
        records = [line["record"] for line in lines if line.get("type") in {"acknowledged", "adopted"}]
        if head.get("type") == "head" and records:
            last = max(record.get("batch", 0) for record in records)
            intents = {line["commit"] for line in lines if line.get("type") == "intent"}
            yield head["consumer"], head["directory"], last, intents


def _line(line: bytes) -> dict[str, Any]:
    """Return a line whose checksum is right, else nothing."""
    checksum, _, content = line.partition(b" ")
    try:
        return dict(json.loads(content)) if int(checksum, 16) == zlib.crc32(content) else {}
    except ValueError:
        return {}
