"""A directory with sealed files as workers leave them, and janitors with a clock that a test moves."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import TYPES
from tests.support.workers import settings
from worker.archive import READ_ONLY
from worker.elapsed import Clocks
from worker.inventory import Place, Stored, configured_places, lines, sealed_file, sealed_in
from worker.janitor import Done, Janitor
from worker.janitor.store import ObjectStore
from worker.manifest import Manifest, encode, manifest_path
from worker.settings import JanitorSettings

DAY_MS = 86_400_000
NOW_MS = 1_795_373_300_000


class Lab:
    """One directory of accounting files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = settings(path).directory
        self.places = configured_places(self.settings)
        for place in self.places.values():
            place.archive.mkdir(parents=True)
        (path / ".directory-id").write_text("0123456789abcdef\n")
        self.now_ms = NOW_MS  # by the wall clock
        self.monotonic = 0.0  # seconds since the machine's start
        self.account = "this start of the machine"

    def pass_time(self, *, days: float = 0, hours: float = 0) -> None:
        """Let time pass, on every clock."""
        seconds = days * 86_400 + hours * 3600
        self.monotonic += seconds
        self.now_ms += round(seconds * 1000)

    @property
    def delivered(self) -> Place:
        return self.places["delivered"]

    def janitor(
        self, *, archiving: bool = True, open_store: Callable[[str], ObjectStore] = ObjectStore, **asked: Any
    ) -> Janitor:
        """Return a janitor that is asked for this."""
        return Janitor(
            self.settings, msgspec.structs.replace(JanitorSettings(), **asked), archiving=archiving,
            clocks=Clocks(lambda: self.now_ms, lambda: self.monotonic, lambda: self.account), open_store=open_store,
        )  # fmt: skip

    def tidy(self, *, archiving: bool = True, **asked: Any) -> Done:
        """Let a janitor run once, and have no trouble."""
        janitor = self.janitor(archiving=archiving, **asked)
        done = janitor.run()
        assert not janitor.troubles
        return done

    def seal(
        self, directory: Path, name: str, *, rows: int = 100, days_old: float = 0, type_: str = "delivered"
    ) -> Path:
        """Put a sealed file into a directory."""
        content = b"rcpt\n" + b"".join(b"%s-%d@example.com\n" % (name.encode(), number) for number in range(rows))
        sealed_ms = int(NOW_MS - days_old * DAY_MS)
        manifest = Manifest(
            name=name, type=type_, rows=rows, bytes=len(content), sha256=hashlib.sha256(content).hexdigest(),
            columns=["rcpt"], opened_ms=sealed_ms, first_id=None, last_id=None, first_time_ms=None, last_time_ms=None,
            writer="worker-1", directory="0123456789abcdef", reason="size", version="0", format="tsv",
            separator="\t", sealed_ms=sealed_ms,
        )  # fmt: skip
        path = directory / name
        for file, data in ((path, content), (manifest_path(path), encode(manifest))):
            file.write_bytes(data)
            file.chmod(READ_ONLY)
        return path

    def stored(self, name: str) -> Stored:
        """Return a sealed file of whatever type by its name."""
        return next(found for place in self.places.values() if (found := sealed_file(place, name)))

    def standing(self) -> dict[str, list[bytes]]:
        """Return the lines of every sealed file, by its path below the directory, after a look at what stands there.

        Everything that is not hidden must belong to a manifest, in the one form that it tells.
        """
        found: dict[str, list[bytes]] = {}
        expected: set[Path] = set()
        for place in self.places.values():
            for directory in (place.open, place.archive):
                for stored in sealed_in(directory, place.event_type):
                    check(stored)
                    found[str(stored.content_path.relative_to(self.path))] = list(lines(stored))
                    expected |= {stored.content_path, manifest_path(stored.path)}
        files = {file for name in TYPES for file in (self.path / name).rglob("*") if file.is_file()}
        assert {file for file in files if not file.name.startswith(".")} == expected
        assert not [file for file in files if file.name.startswith(".janitor.")]
        return found


def check(stored: Stored) -> None:
    """Compare a sealed file with its manifest, in the form that it stands in."""
    assert stored.manifest is not None
    content = b"".join(lines(stored))
    assert (len(content), hashlib.sha256(content).hexdigest()) == (stored.manifest.bytes, stored.manifest.sha256)
    raw = stored.content_path.read_bytes()
    form = stored.manifest.compressed or stored.manifest
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (form.bytes, form.sha256)
    assert not stored.content_path.stat().st_mode & 0o222
    assert not manifest_path(stored.path).stat().st_mode & 0o222
