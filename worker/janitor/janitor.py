"""The janitor of a directory: one run brings every sealed file as far as the configuration asks for.

Owns the order: move → compress → upload, file by file, then expiry over all of them. It remembers nothing that it
could not learn from the files, but what it has complained about and since when it has seen them.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from worker.elapsed import MACHINE, Clocks
from worker.errors import DiskTrouble, Locked
from worker.identity import known_id
from worker.inventory import Place, Stored, places, sealed_in
from worker.janitor import compress, expire, forget, move
from worker.janitor.attempts import Attempts
from worker.janitor.copies import Copies
from worker.janitor.elsewhere import Elsewhere
from worker.janitor.expiry import Expiry
from worker.janitor.held import Unfit
from worker.janitor.lock import janitor_lock
from worker.janitor.recovered import Tails
from worker.janitor.store import ObjectStore, directory_of
from worker.janitor.troubles import Troubles
from worker.log import event
from worker.manifest import BadManifest, manifest_path
from worker.schedule import Step
from worker.settings import Compression, DirectorySettings, JanitorSettings

_log = logging.getLogger("worker.janitor")

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

    def __init__(
        self, directory: DirectorySettings, settings: JanitorSettings, *, archiving: bool,
        clocks: Clocks = MACHINE, open_store: Callable[[str], ObjectStore] = ObjectStore,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._settings = settings
        self._archiving = archiving
        self._clocks = clocks
        self._open_store = open_store
        self._store: ObjectStore | None = None
        self._opened: Copies | None = None  # in this run
        self._locked_out_since: float | None = None
        self._done = Done()
        self._attempts = Attempts(clocks.elapsed_seconds)
        self._tails = Tails(directory.path, clocks.elapsed_seconds)
        self._expiry = Expiry(directory.path, settings, self._attempts, self._final_files)

    @property
    def troubles(self) -> Troubles:
        """Return what is wrong now."""
        return self._attempts.troubles

    def step(self) -> Step | None:
        """Return what a run that is under way is at; safe in any thread."""
        return self._attempts.step

    def stop(self) -> None:
        """Ask a run that is under way to end after the file in hand; safe in any thread."""
        self._attempts.stopping = True

    def tick(self) -> None:
        """Run, for the scheduler: nothing is raised, and where another process is the janitor nothing is done."""
        try:
            self.run()
        except Locked as busy:
            self._tell_locked_out(busy)
        except (OSError, DiskTrouble) as error:
            self.troubles.begin("start", "", error)
        else:
            self._locked_out_since = None
            self.troubles.end("start", "")

    def _tell_locked_out(self, busy: Locked) -> None:
        """Say that another process has been the janitor for very long: it hangs, or there is too much to do."""
        now = self._clocks.elapsed_seconds()
        if self._locked_out_since is None:
            self._locked_out_since = now
        if now - self._locked_out_since >= _LOCKED_OUT_SECONDS:
            self.troubles.begin("start", "", busy)

    def begin(self) -> None:
        """Begin to count the days of what stands here, unless that is done; what hinders it the next run meets, too.

        Before anything is sealed here: what a wrong clock says of that must not be taken for what was here before.
        """
        with suppress(Locked, OSError, DiskTrouble, UnicodeDecodeError):
            if known_id(self._directory.path) is not None:
                with janitor_lock(self._directory.path):
                    self._expiry.look(places(self._directory), self._clocks.read())
                    self._expiry.note()

    def run(self, *, trust_clock: bool = False) -> Done:
        """Bring every sealed file as far as it can get now.

        With `trust_clock`, days count that nobody saw pass, as the wall clock has them. Raises Locked, or OSError and
        DiskTrouble where not even the directories can be read.
        """
        self._done, self._opened = Done(), None
        if known_id(self._directory.path) is None:  # not used yet, or its volume is not mounted
            return self._done
        self._attempts.begin()
        try:
            with janitor_lock(self._directory.path):
                self._run(trust_clock=trust_clock)
        finally:
            self._attempts.end()
        return self._done

    def _run(self, *, trust_clock: bool) -> None:
        found = places(self._directory)
        look = partial(self._expiry.look, found, self._clocks.read(), trust_clock=trust_clock)
        now_ms = self._attempts.make("time", self._directory.path, look)
        self._attempts.make("note", self._directory.path, self._expiry.note)
        for place in found:
            forget.prepare(place)
            self._process(place)
        if now_ms is not None:
            self._expire(now_ms)

    def _sealed(self, place: Place, *directories: Path) -> Iterator[Stored]:
        """Yield the sealed files that stand whole in these directories, until asked to stop."""
        bad: list[BadManifest] = []
        for directory in directories:
            for stored in sealed_in(directory, place.event_type, bad):
                if self._attempts.stopping:
                    return
                if stored.content_path.exists():
                    yield stored
                else:
                    self._attempts.make("find", stored.path, partial(self._finish, stored, place))
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
        for stored in self._final_files(place):
            self._compress_and_upload(stored, place)

    def _final_files(self, place: Place) -> Iterator[Stored]:
        """Yield the files that stand where they stay; with archiving those elsewhere have to be moved first."""
        return self._sealed(place, *(place.directories[1:] if self._archiving else place.directories))

    def _archive(self, stored: Stored, place: Place) -> None:
        whole = self._compress(stored, place) if compress.is_begun(stored) else stored
        moved = whole and self._attempts.make("move", stored.path, lambda: move.move(whole, place))
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
        done = self._attempts.make("compress", stored.path, lambda: compress.compress(stored, place, kind))
        if done and done.manifest and done.manifest.compressed:
            before, after = done.manifest.bytes, done.manifest.compressed.bytes
            event(_log, "file.compressed", file=done.content_path, bytes=before, compressed_bytes=after)
            self._done.compressed += 1
        return done

    def _upload(self, stored: Stored, place: Place) -> None:
        if self._attempts.make("upload", stored.path, lambda: self._copies().make(stored, place)):
            self._done.uploaded += 1

    def _copies(self) -> Copies:
        """Return the store's side of things; raises StoreTrouble and OSError where that must not be used, or cannot."""
        if self._opened is None:
            url = self._url()
            elsewhere = Elsewhere(self._directory.path, places(self._directory))
            if root := directory_of(url):
                elsewhere.require_store(root, url)
            self._store = self._store or self._open_store(url)
            self._opened = Copies(self._store, elsewhere, self._directory.path, self._clocks.wall_ms)
        return self._opened

    def _url(self) -> str:
        """Return where this directory's files go; directories that share a store are told apart by their ids."""
        url = (self._settings.archive_url or "").replace("{directory}", known_id(self._directory.path) or "")
        return url.rstrip("/")

    def _expire(self, now_ms: int) -> None:
        """Remove what is due, `now_ms` by passed time."""
        for _ in self._expiry.remove_due(self._copies if self._settings.archive_url else None):
            self._done.expired += 1
        self._attempts.make("recovered", self._directory.path, partial(self._clear_tails, now_ms))

    def _clear_tails(self, now_ms: int) -> None:
        done = self._tails.clear(places(self._directory), self._settings.keep_recovered_days, now_ms)
        if done.settled:
            event(_log, "recovered.settled", tails=done.settled)
        if done.expired:
            event(_log, "recovered.expired", tails=done.expired)
        if done.unproven:
            event(_log, "recovered.kept", logging.WARNING, tails=done.unproven, why="no sealed file has all their rows")
        self._done.tails += done.expired


def _is_compressed(stored: Stored) -> bool:
    return stored.manifest is not None and stored.manifest.compressed is not None
