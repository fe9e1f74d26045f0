"""One look for an address at every place that can be seen from here, and with a reason its removal.

Removal is done under the janitor's lock, so nobody else moves, compresses or removes a sealed file meanwhile. Whatever
it is interrupted at, each file is the one of before or the new one, and giving the command again goes on.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from worker import forgotten
from worker.audit.acceptance import who
from worker.errors import Locked, StreamUnavailable
from worker.forgetting import server
from worker.forgetting.aside import Aside
from worker.forgetting.files import Files, Rewriting
from worker.forgetting.target import Target
from worker.forgotten import Standing, State
from worker.inventory import places
from worker.janitor import forget
from worker.janitor.lock import janitor_lock
from worker.records import Record
from worker.settings import Settings
from worker.stream.commit_records import CommitRecords
from worker.stream.link import Connector

_LOCK_SECONDS, _POLL_SECONDS = 60.0, 0.2

#: What cannot be looked at from here, whatever the address.
ELSEWHERE = tuple(
    Standing(kind="elsewhere", where=where, state=State.TOLD, text=text)
    for where, text in (
        ("the nodes", "events that wait in a spool, `.damaged` files, Haraka's queue and logs"),
        ("the server's disk", "its log of commands (AOF) and its snapshots, until they are written anew"),
        ("exports", "what `replay` wrote, what pipelines took, backups"),
    )
)


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found, and what became of it."""

    standing: list[Standing]
    missed: list[str]  # what could not be looked at
    note: str | None = None  # where it is noted

    @property
    def is_left(self) -> bool:
        """Tell whether it stands somewhere that can be seen from here."""
        return any(each.state in {State.FOUND, State.LEFT} for each in self.standing)


class Forgetting:
    """Looks for one address in a directory and a partition, and takes it out."""

    def __init__(self, target: Target, settings: Settings, directory_id: str, connect: Connector) -> None:
        self._target = target
        self._settings = settings
        self._path = settings.directory.path
        self._directory_id = directory_id
        self._connect = connect

    def look(self) -> Outcome:
        """Return where the address stands. Raises OSError."""
        return self._run(None)

    def remove(self, reason: str, tell: Callable[[str], object]) -> Outcome:
        """Take it out wherever that can be done, with a note; `tell` is told what has to be waited for.

        Raises OSError, DiskTrouble, Locked.
        """
        with _janitor(self._path, tell):
            for place in places(self._settings.directory):
                forget.prepare(place)
            file, note = forgotten.begin(self._path, self._target.address, reason, who())
            outcome = self._run(Rewriting(note_name=file.name, note=note))
            forgotten.finish(file, note, outcome.standing)
        return Outcome(standing=outcome.standing, missed=outcome.missed, note=str(file))

    def _run(self, rewriting: Rewriting | None) -> Outcome:
        missed: list[str] = []
        records = self._records(missed)
        files = Files(self._target, places(self._settings.directory), self._settings.rows)
        aside = Aside(self._target, self._path)
        standing = [
            *files.standing(records, rewriting),
            *aside.standing(remove=rewriting is not None),
            *self._on_server(missed),
            *ELSEWHERE,
        ]
        return Outcome(standing=standing, missed=[*missed, *files.missed, *aside.missed])

    def _records(self, missed: list[str]) -> list[Record]:
        try:
            with CommitRecords(self._connect, self._settings.stream.partition, self._directory_id) as records:
                found = records.read()
                missed += records.unreadable
                return found
        except StreamUnavailable as error:
            missed.append(f"open files: only the server knows how far they count ({error})")
            return []

    def _on_server(self, missed: list[str]) -> list[Standing]:
        stream = self._settings.stream
        try:
            return list(server.standing(self._target, self._connect, stream.partition, stream.retention_days))
        except StreamUnavailable as error:
            missed.append(f"streams and dead letters: {error}")
            return []


@contextmanager
def _janitor(path: Path, tell: Callable[[str], object]) -> Iterator[None]:
    """Be the directory's janitor, once the one that is at work has ended its run. Raises Locked."""
    end, is_told = time.monotonic() + _LOCK_SECONDS, False
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(janitor_lock(path))
                break
            except Locked as busy:
                if time.monotonic() > end:
                    raise
                if not is_told:
                    tell(f"waiting for a minute at most: {busy}")
                    is_told = True
                time.sleep(_POLL_SECONDS)
        yield
