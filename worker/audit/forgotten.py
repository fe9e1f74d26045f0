"""Addresses that were taken out of files: each manifest that says so needs the note of it, which names the same one."""

from collections.abc import Iterator

from worker import forgotten
from worker.audit.directory import View
from worker.audit.finding import Finding, Kind
from worker.errors import Unreadable
from worker.forgotten import Note
from worker.inventory import Stored


def findings(view: View) -> Iterator[Finding]:
    """Yield the files of a directory that say they were rewritten, and nobody noted it. Raises OSError."""
    rewritten = [
        stored for files in view.files for stored in files.sealed if stored.manifest and stored.manifest.forgotten
    ]
    if not rewritten:
        return
    try:
        notes = forgotten.read(view.path)
    except Unreadable as error:
        yield Finding(kind=Kind.MANIFEST, directory=view.id, text=str(error))
        return
    for stored in rewritten:
        yield from _of_file(view, stored, notes)


def _of_file(view: View, stored: Stored, notes: dict[str, Note]) -> Iterator[Finding]:
    for entry in stored.manifest.forgotten if stored.manifest else ():
        note = notes.get(entry.note)
        if note is None or (note.salt, note.digest) != (entry.salt, entry.digest):
            yield Finding(
                kind=Kind.MANIFEST, type=stored.event_type, directory=view.id, file=str(stored.path), count=entry.rows,
                text=f"{stored.path}: its manifest says that an address was taken out of {entry.rows:,} rows, and no "
                f"note {entry.note!r} in {forgotten.FOLDER}/ says the same",
            )  # fmt: skip
