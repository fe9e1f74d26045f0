"""Accounting files that hold an address: sealed ones are rewritten, open ones are told."""

from collections.abc import Iterator, Sequence

import msgspec

from worker.catalogue import expired
from worker.erasure.lines import Eraser
from worker.erasure.matching import digest
from worker.forgetting.target import Target
from worker.forgotten import Note, Standing, State
from worker.inventory import Place, Stored, lines, sealed, sealed_file, unsealed
from worker.janitor import forget
from worker.janitor.held import Busy, Unfit
from worker.manifest import BadManifest, Forgotten, Manifest
from worker.reading.content import UNREADABLE
from worker.records import Record
from worker.settings import Format, RowSettings

_LOOKS = 5  # a file can be moved, compressed and removed meanwhile

OPEN_TEXT = "open: `haraka-accounting rotate --all`, then forget it again"
COPY_TEXT = "holds the address as long as nobody deletes it there: nothing in object storage is rewritten"
BUSY_TEXT = "a worker is at it: run this again"


class Rewriting(msgspec.Struct, frozen=True, kw_only=True):
    """What is written into the manifests of this run."""

    note_name: str
    note: Note

    def entry(self, before: Manifest, rows: int) -> Forgotten:
        """Return what a manifest says of it."""
        return Forgotten(
            at_ms=self.note.at_ms, reason=self.note.reason, note=self.note_name, rows=rows, salt=self.note.salt,
            digest=self.note.digest, bytes=before.bytes, sha256=before.sha256,
            copy=before.uploaded.url if before.uploaded else None,
        )  # fmt: skip


class Files:
    """The accounting files of some places; `missed` says what could not be looked at."""

    def __init__(self, target: Target, places: Sequence[Place], rows: RowSettings) -> None:
        """`rows` says how open files look of which no series tells."""
        self._target = target
        self._places = places
        self._rows = rows
        self.missed: list[str] = []

    def standing(self, records: Sequence[Record], rewriting: Rewriting | None) -> Iterator[Standing]:
        """Yield where the address stands; with `rewriting` it does not any more in sealed files.

        The records are older than this look. For rewriting, the janitor's lock must be held.
        """
        for place in self._places:
            for stored in unsealed(place, records):
                if stored.path.exists() and sealed_file(place, stored.path.name) is None:
                    yield from self._open(stored)
            bad, unreadable = list[BadManifest](), list[OSError]()
            for stored in sealed(place, bad, unreadable):
                yield from self._sealed(stored, place, rewriting)
            self.missed += (str(error) for error in (*bad, *unreadable))
            yield from self._expired(place)

    def _open(self, stored: Stored) -> Iterator[Standing]:
        described = stored.series or self._rows
        columns = stored.series.columns if stored.series else self._rows.columns[stored.event_type]
        eraser = self._target.eraser(Format(described.format), described.separator, columns)
        if count := self._count(stored, eraser):
            yield Standing(kind="open file", where=str(stored.path), count=count, state=State.LEFT, text=OPEN_TEXT)

    def _sealed(self, stored: Stored, place: Place, rewriting: Rewriting | None) -> Iterator[Standing]:
        manifest = stored.manifest
        assert manifest is not None  # noqa: S101  # that is what makes it a sealed one
        yield from self._earlier_copies(manifest)
        try:
            eraser = self._target.eraser(Format(manifest.format), manifest.separator, manifest.columns)
        except ValueError:
            self.missed.append(f"{stored.path}: unknown format {manifest.format!r}")
            return
        now = self._counted(stored, place, eraser)
        if now is None:
            return
        stored, count = now
        if count:
            yield self._rewritten(stored, place, eraser, count, rewriting)
            if manifest.uploaded:
                yield _copy(manifest.uploaded.url, State.LEFT, count)

    def _rewritten(
        self, stored: Stored, place: Place, eraser: Eraser, count: int, rewriting: Rewriting | None
    ) -> Standing:
        """Rewrite a file, where that is asked for, and tell what became of it."""
        found = Standing(kind="sealed file", where=str(stored.content_path), count=count, state=State.FOUND)
        if rewriting is None:
            return found
        try:
            done = forget.rewrite(stored, place, eraser, rewriting.entry)
        except Busy:
            return msgspec.structs.replace(found, state=State.LEFT, text=BUSY_TEXT)
        except Unfit as error:
            return msgspec.structs.replace(found, state=State.LEFT, text=str(error))
        text = f"{done.content_path.name} took its place"
        return msgspec.structs.replace(found, state=State.REMOVED, text=text)

    def _counted(self, stored: Stored, place: Place, eraser: Eraser) -> tuple[Stored, int] | None:
        """Count the rows of a file in which the address stands, wherever it stands by now; None where it is gone."""
        now: Stored | None = stored
        for _ in range(_LOOKS):
            if now is None:
                return None
            try:
                return now, sum(eraser.line(line) is not line for line in lines(now))
            except FileNotFoundError:
                now = sealed_file(place, stored.path.name)
            except UNREADABLE as error:
                self.missed.append(f"{now.content_path}: {error}")
                return None
        self.missed.append(f"{stored.content_path}: is not there")
        return None

    def _count(self, stored: Stored, eraser: Eraser) -> int:
        try:
            return sum(eraser.line(line) is not line for line in lines(stored))
        except UNREADABLE as error:
            self.missed.append(f"{stored.path}: {error}")
            return 0

    def _earlier_copies(self, manifest: Manifest) -> Iterator[Standing]:
        """Yield the copies of what a file was before this address was taken out of it."""
        for entry in manifest.forgotten:
            if entry.copy and entry.digest == digest(entry.salt, self._target.address):
                yield _copy(entry.copy, State.TOLD, entry.rows)

    def _expired(self, place: Place) -> Iterator[Standing]:
        """Tell of expired files that have copies: what these hold cannot be seen from here."""
        copies = [manifest.uploaded.url for manifest in expired(place) if manifest.uploaded]
        if copies:
            text = f"{len(copies)} files that expired here, from {copies[0]} to {copies[-1]}: not looked into"
            yield Standing(kind="copy in object storage", where=place.event_type, state=State.TOLD, text=text)


def _copy(url: str, state: State, count: int) -> Standing:
    return Standing(kind="copy in object storage", where=url, count=count, state=state, text=COPY_TEXT)
