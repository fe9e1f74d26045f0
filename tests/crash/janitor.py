"""The janitor's crash machine: it dies at any operation, and so does the worker; then all is brought to its end.

At the end every row that was published stands once: in a sealed file, in one form, or, where files expire, in the
object store, with its manifest in the catalogue.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.crash.disk import Died, Disk
from tests.crash.machine import Machine
from tests.janitor.lab import check as check_sealed
from tests.support.events import recipients_of
from tests.support.workers import HandClock, changed, make_worker
from worker import catalogue
from worker.inventory import configured_places, contents, lines, sealed_in
from worker.janitor import Janitor
from worker.janitor.store import ObjectStore
from worker.manifest import manifest_path
from worker.settings import Compression, JanitorSettings


class Wish(NamedTuple):
    """What a life of files is made of."""

    compress: Compression = Compression.NONE
    archiving: bool = True
    other_file_system: bool = False  # the archives are mounts
    upload: bool = False
    expire: bool = False


WISHES = {
    "moved, zstd, uploaded, expired": Wish(Compression.ZSTD, upload=True, expire=True),
    "copied to a mount, gzip, uploaded": Wish(Compression.GZIP, other_file_system=True, upload=True),
    "copied to a mount, expired": Wish(other_file_system=True, expire=True),
    "left in place, zstd, uploaded, expired": Wish(Compression.ZSTD, archiving=False, upload=True, expire=True),
    "left in place, gzip": Wish(Compression.GZIP, archiving=False),
}


class JanitorMachine(Machine):
    """A worker and a janitor in one process that dies again and again."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch, wish: Wish) -> None:
        super().__init__(base, patch)
        self.wish = wish
        self._settings = changed(self._settings, "rotation", archiving=wish.archiving)
        self.places = configured_places(self._settings.directory)
        if wish.other_file_system:
            for name, place in self.places.items():
                (base / f"stash-{name}").mkdir()
                self.kernel.disks.insert(0, Disk(place.archive, base / f"stash-{name}"))
        self._store = base / "store"

    def _janitor(self) -> Janitor:
        kernel = self.kernel

        class Store(ObjectStore):
            """A store at whose requests the process can die, before they are done or after."""

            def put(self, key: str, source: Path | bytes) -> None:
                kernel.tick(f"put {key}")
                super().put(key, source)
                kernel.tick(f"put {key}, done")

            def read_back(self, key: str, expected_bytes: int) -> Any:
                kernel.tick(f"read {key}")
                return super().read_back(key, expected_bytes)

        asked = JanitorSettings(
            compress=self.wish.compress, archive_url=self._store.as_uri() if self.wish.upload else None,
            keep_bytes=1 if self.wish.expire else None,
        )  # fmt: skip
        return Janitor(self._settings.directory, asked, archiving=self.wish.archiving, open_store=Store)

    def tidy(self) -> None:
        """Let a janitor run once; nothing may trouble it."""
        janitor = self._janitor()
        janitor.run()
        assert not janitor.troubles, vars(janitor.troubles)

    def live_and_tidy(self, die_at: int | None, *, events: int, janitor_first: bool) -> bool:
        """Let a worker work and stop, with the janitor at it before, meanwhile and after; tells whether all lived."""
        self.publisher.publish_some(events)
        self._lives += 1
        self.kernel.arm(die_at)
        worker = None
        try:
            if janitor_first:
                self.tidy()
            worker = make_worker(self._settings, self._connect, HandClock())
            worker.recover()
            while self._undone():
                worker.step()
            self.tidy()
            worker.stop()
            worker.run()
            worker = None
            self.tidy()
        except Died:
            return False
        finally:
            self.kernel.arm(None)
            if worker is not None:
                worker._schedule.stop()
            self.kernel.close_descriptors(None)
        return True

    def power_loss(self, chance: random.Random) -> None:
        """Let every disk lose a random part of what is not durable."""
        for disk in self.kernel.disks:
            disk.power_loss(chance)

    def check(self) -> None:
        """Compare what was published with every row that stands, or has expired."""
        published = Counter(recipients_of(e for events in self.publisher.published.values() for e in events))
        found: Counter[str] = Counter()
        for place in self.places.values():
            standing = [s for at in (place.open, place.archive) for s in sealed_in(at, place.event_type)]
            names = {stored.path.name for stored in standing}
            assert len(names) == len(standing), "a file stands in both directories"
            for stored in standing:
                check_sealed(stored)
                found.update(_recipients(lines(stored)))
            expired = list(catalogue.expired(place))
            assert not names & {manifest.name for manifest in expired}, "expired, and still there"
            if self.wish.expire:
                assert not names, f"not expired: {names}"
            for manifest in expired if self.wish.upload else []:
                assert manifest.uploaded
                with contents(self._store / manifest.uploaded.url.removeprefix(self._store.as_uri() + "/")) as content:
                    found.update(_recipients(content))
            if self.wish.upload:
                assert all(stored.manifest and stored.manifest.uploaded for stored in standing)
            known = {path for s in standing for path in (s.content_path, manifest_path(s.path))}
            assert self._files(place.event_type) == known, "stands there and belongs to nothing"
        if self.wish.expire and not self.wish.upload:
            rows = sum(manifest.rows for place in self.places.values() for manifest in catalogue.expired(place))
            assert rows == sum(published.values())
        else:
            assert found == published

    def _files(self, event_type: str) -> set[Path]:
        """Return every file of a type; hidden ones only where they are a janitor's leavings."""
        files = [file for file in (self.path / event_type).rglob("*") if file.is_file()]
        return {file for file in files if not file.name.startswith(".") or file.name.startswith(".janitor.")}


def _recipients(content: Any) -> list[str]:
    header, *rows = [line.decode().rstrip("\n").split("\t") for line in content]
    return [row[header.index("rcpt")] for row in rows]


def run(wish: Wish, deaths: Sequence[int], *, seed: int, power_loss: bool, events: int = 3) -> None:
    """Let worker and janitor die at each of these operations of their lives, one life each; finish and compare."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        machine = JanitorMachine(Path(base), patch, wish)
        janitor_first = bool(seed % 2)
        for die_at in deaths:
            if not machine.live_and_tidy(die_at, events=events, janitor_first=janitor_first) and power_loss:
                machine.power_loss(chance)
        assert machine.live_and_tidy(None, events=events, janitor_first=janitor_first)
        machine.check()


def operations_of_a_life(wish: Wish, events: int = 3) -> int:
    """Return how many operations a life without a death has."""
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        machine = JanitorMachine(Path(base), patch, wish)
        assert machine.live_and_tidy(None, events=events, janitor_first=True)
        return machine.kernel.lived
