"""Whether the files stand there as long as they must be, by their sizes alone: no content is read.

Workers and the janitor go on meanwhile: a file that is not as expected is looked at again in the form and place that
it has now, and is a finding only where that does not explain it.
"""

from collections.abc import Iterator

from worker.audit.directory import View
from worker.audit.finding import Finding, Kind
from worker.catalogue import expired
from worker.inventory import Place, Stored, sealed_file
from worker.manifest import BadManifest

#: What is wrong, in words, and the bytes that a file has.
Trouble = tuple[Kind, str, int | None]

_LOOKS = 5  # a file can be moved, compressed, uploaded and removed one after the other


def findings(view: View) -> Iterator[Finding]:
    """Yield the files of a directory that are missing, shorter or longer than they must be."""
    for files in view.files:
        for stored in (*files.sealed, *files.open):
            if trouble := _trouble(files.place, stored):
                kind, what, found = trouble
                yield Finding(
                    kind=kind, type=stored.event_type, directory=view.id, file=str(stored.path), count=stored.rows,
                    bytes=found,
                    text=f"{stored.path}: {what}; it has {stored.rows:,} rows",
                )  # fmt: skip


def _trouble(place: Place, stored: Stored) -> Trouble | None:
    """Return what is wrong with a file, after looking whether it has another form by now."""
    for _ in range(_LOOKS):
        trouble = _differs(place, stored)
        if trouble is None or (stored.manifest is None and not stored.rows):  # unlinked instead of sealed
            return None
        now = _sealed_now(place, stored.path.name)
        if now is None or now == stored:  # a file is noted before it goes, and its manifest is the last to go
            is_expired = any(gone.name == stored.path.name for gone in expired(place))
            return None if is_expired and trouble[0] is Kind.FILE_MISSING else trouble
        stored = now
    return trouble


def _sealed_now(place: Place, name: str) -> Stored | None:
    try:
        return sealed_file(place, name)
    except BadManifest:
        return None


def _differs(place: Place, stored: Stored) -> Trouble | None:
    """Compare a file with its manifest, or with its record, which tells how long it is at least."""
    manifest = stored.manifest
    wanted = manifest.compressed.bytes if manifest and manifest.compressed else stored.length
    told = "its manifest says" if manifest else "its commit record says"
    found = _size(place, stored.content_path.name)
    if found is None:
        return Kind.FILE_MISSING, f"is not there, {told} {wanted:,} bytes", None
    if found < wanted or (manifest and found > wanted):
        return Kind.FILE_SIZE, f"{found:,} bytes, {told} {wanted:,}", found
    return None


def _size(place: Place, name: str) -> int | None:
    """Return the size of a file in either directory, looking in the order in which it moves."""
    for directory in place.directories:
        try:
            return (directory / name).stat().st_size
        except FileNotFoundError:
            continue
    return None
