"""The janitor of a directory: one run brings every sealed file as far as the configuration asks for.

Owns the order: move → compress → upload, file by file, then expiry over all of them. It remembers nothing that it
could not learn from the files, but what it has complained about. A file that fails does not hold up the others; a
disk or store that fails is left alone until the next run.
"""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from worker.accounting_file import sync_directory
from worker.elapsed import elapsed_seconds
from worker.errors import DiskTrouble, Locked
from worker.identity import known_id
from worker.inventory import Place, Stored, places, sealed_in
from worker.janitor import compress, durable, expire, move
from worker.janitor.held import Busy, Unfit
from worker.janitor.lock import janitor_lock
from worker.janitor.recovered import expire_tails
from worker.janitor.store import ObjectStore, StoreTrouble
from worker.janitor.troubles import Troubles
from worker.janitor.upload import upload
from worker.log import event
from worker.manifest import BadManifest, manifest_path
from worker.schedule import Step
from worker.settings import Compression, DirectorySettings, JanitorSettings

_log = logging.getLogger("worker.janitor")

T = TypeVar("T")

EVERY_SECONDS = 60
_LOCKED_OUT_SECONDS = 3600.0


class Done(msgspec.Struct):
    """What a run did, in files."""

    archived: int = 0
    compressed: int = 0
    uploaded: int = 0
    expired: int = 0
    tails: int = 0  # of recovered/, expired


class Janitor:
    """Works on the sealed files of one directory."""

    def __init__(  # noqa: PLR0913
        self, directory: DirectorySettings, settings: JanitorSettings, *, archiving: bool,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        monotonic: Callable[[], float] = elapsed_seconds,
        open_store: Callable[[str], ObjectStore] = ObjectStore,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._settings = settings
        self._archiving = archiving
        self._now_ms = now_ms
        self._open_store = open_store
        self._store: ObjectStore | None = None
        self._stopping = False
        self._resting: set[str] = set()  # steps that met a disk or store that fails, until the next run
        self._done = Done()
        self._step: Step | None = None
        self._locked_out_since: float | None = None
        self._monotonic = monotonic
        self.troubles = Troubles(monotonic)

    def step(self) -> Step | None:
        """Return what a run that is under way is at; safe in any thread."""
        return self._step

    def stop(self) -> None:
        """Ask a run that is under way to end after the file in hand; safe in any thread."""
        self._stopping = True

    def tick(self) -> None:
        """Run, for the scheduler: nothing is raised, and where another process is the janitor nothing is done."""
        self._step = Step("start", self._monotonic())
        try:
            self.run()
        except Locked as busy:
            self._tell_locked_out(busy)
        except (OSError, DiskTrouble) as error:
            self.troubles.begin("start", "", error)
        else:
            self._locked_out_since = None
            self.troubles.end("start", "")
        finally:
            self._step = None

    def _tell_locked_out(self, busy: Locked) -> None:
        """Say that another process has been the janitor for very long: it hangs, or there is too much to do."""
        now = self._monotonic()
        if self._locked_out_since is None:
            self._locked_out_since = now
        if now - self._locked_out_since >= _LOCKED_OUT_SECONDS:
            self.troubles.begin("start", "", busy)

    def run(self) -> Done:
        """Bring every sealed file as far as it can get now.

        Raises Locked, or OSError and DiskTrouble where not even the directories can be read.
        """
        self._resting.clear()
        self._done = Done()
        if known_id(self._directory.path) is None:  # not used yet, or its volume is not mounted
            return self._done
        with janitor_lock(self._directory.path):
            found = places(self._directory).values()
            for place in found:
                self._prepare(place)
                self._process(place)
            self._expire(found)
            self._attempt("recovered", self._directory.path, self._expire_tails)
        return self._done

    def _prepare(self, place: Place) -> None:
        """Make durable what another process did to the names here and died, and remove what it left half-written."""
        for directory in (place.open, place.archive):
            if directory.is_dir():
                sync_directory(directory)
                durable.sweep(directory)

    def _sealed(self, place: Place, *directories: Path) -> Iterator[Stored]:
        """Yield the sealed files that stand whole in these directories, until asked to stop."""
        bad: list[BadManifest] = []
        for directory in directories:
            for stored in sealed_in(directory, place.event_type, bad):
                if self._stopping:
                    return
                if stored.content_path.exists():
                    yield stored
                else:
                    self._attempt("find", stored.path, partial(self._finish, stored, place))
        for error in bad:
            self.troubles.begin("read", str(error), error)

    def _finish(self, stored: Stored, place: Place) -> None:
        """Finish what was interrupted behind the last of a file's content; raises Unfit where it is just gone."""
        origin = place.open / stored.path.name
        if not manifest_path(stored.path).exists():  # moved by a worker meanwhile
            return
        if stored.path != origin and manifest_path(origin).exists():  # its move comes first
            return
        if not (move.finish(stored, place) or expire.finish(stored, place)):
            raise Unfit(f"{stored.content_path.name} is not there")

    def _process(self, place: Place) -> None:
        """Move, compress and upload the files of a type."""
        if self._archiving:
            for stored in self._sealed(place, place.open):
                self._archive(stored, place)
        for stored in self._sealed(place, *self._final(place)):
            self._compress_and_upload(stored, place)

    def _final(self, place: Place) -> tuple[Path, ...]:
        """Return the directories where files stay; with archiving those elsewhere have to be moved first."""
        return (place.archive,) if self._archiving else (place.open, place.archive)

    def _archive(self, stored: Stored, place: Place) -> None:
        whole = self._compress(stored, place) if compress.is_begun(stored) else stored
        moved = whole and self._attempt("move", stored.path, lambda: move.move(whole, place))
        if moved:
            event(_log, "file.archived", file=moved.content_path)
            self._done.archived += 1

    def _compress_and_upload(self, stored: Stored, place: Place) -> None:
        whole: Stored | None = stored
        if compress.is_begun(stored) or (self._settings.compress != Compression.NONE and not _is_compressed(stored)):
            whole = self._compress(stored, place)
        if whole and whole.manifest and self._settings.archive_url and not whole.manifest.uploaded:
            self._upload(whole, place)

    def _compress(self, stored: Stored, place: Place) -> Stored | None:
        kind = self._settings.compress
        done = self._attempt("compress", stored.path, lambda: compress.compress(stored, place, kind))
        if done and done.manifest and done.manifest.compressed:
            before, after = done.manifest.bytes, done.manifest.compressed.bytes
            event(_log, "file.compressed", file=done.content_path, bytes=before, compressed_bytes=after)
            self._done.compressed += 1
        return done

    def _upload(self, stored: Stored, place: Place) -> None:
        def work() -> Stored:
            self._store = self._store or self._open_store(self._url())
            location = self._directory.location[place.event_type]
            return upload(stored, place, location, self._store, self._now_ms())

        done = self._attempt("upload", stored.path, work)
        if done and done.manifest and done.manifest.uploaded:
            event(_log, "file.uploaded", file=done.content_path, url=done.manifest.uploaded.url)
            self._done.uploaded += 1

    def _url(self) -> str:
        """Return where this directory's files go; directories that share a store are told apart by their ids."""
        return (self._settings.archive_url or "").replace("{directory}", known_id(self._directory.path) or "")

    def _expire(self, found: Iterable[Place]) -> None:
        if self._settings.keep_days is None and self._settings.keep_bytes is None:
            return
        standing = [(place, stored) for place in found for stored in self._sealed(place, *self._final(place))]
        for place, stored, why in expire.due(standing, self._settings, self._now_ms()):
            if self._stopping:
                return
            if self._attempt("expire", stored.path, partial(expire.expire, stored, place)):
                event(_log, "file.expired", file=stored.content_path, rows=stored.rows, why=why)
                self._done.expired += 1

    def _expire_tails(self) -> int:
        removed = expire_tails(self._directory.path, self._settings.keep_recovered_days, self._now_ms())
        if removed:
            event(_log, "recovered.expired", tails=removed)
        self._done.tails += removed
        return removed

    def _attempt(self, step: str, path: Path, work: Callable[[], T]) -> T | None:
        """Do one step for one file; None where it has to be done another time."""
        what = str(path)
        if step in self._resting or self.troubles.rests(step, what):
            return None
        self._step = Step(f"{step} {what}", self._monotonic())
        try:
            result = work()
        except Busy:
            return None
        except (Unfit, OSError, DiskTrouble, StoreTrouble) as error:
            if _is_general(error):
                self._resting.add(step)
                self.troubles.begin(step, "", error, file=path)
            else:
                self.troubles.begin(step, what, error, file=path)
            return None
        self.troubles.end(step, "")
        self.troubles.end(step, what)
        return result


def _is_compressed(stored: Stored) -> bool:
    return stored.manifest is not None and stored.manifest.compressed is not None


def _is_general(error: Exception) -> bool:
    """Tell whether other files would meet the same trouble now."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
    return not isinstance(error, Unfit)
