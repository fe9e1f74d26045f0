"""What was kept aside in `lost/` and `recovered/`: rows that were acknowledged, or may have been, and do not count."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from worker import regular, salvage
from worker.audit.directory import View
from worker.audit.finding import Finding, Kind


def findings(view: View, lost: int) -> Iterator[Finding]:
    """Yield what a person has to look at. `lost` events are told by the ledger; where it forgot, their notes tell."""
    notes = salvage.kept(view.path) + ([] if lost else salvage.lost_entries(view.path))
    for note in notes:
        if facts := _read(note):
            digest, why = facts
            text = f"{note}: {why}"
            yield Finding(kind=Kind.ASIDE, directory=view.id, file=str(note), sha256=digest, text=text)
    yield from _tails(view)


def _tails(view: View) -> Iterator[Finding]:
    told = [(note, salvage.read_tail_note(note)) for note in salvage.tails(view.path)]
    standing = {tail.sha256 for note, tail in told if tail and salvage.content_of(note).exists()}
    for note, tail in told:
        content = salvage.content_of(note)
        if tail is None:
            if note.exists():  # else it expired meanwhile
                text = f"{note}: is not what a worker wrote, so nobody knows whether the rows beside it count"
                yield Finding(kind=Kind.DOUBT, directory=view.id, file=str(content), text=text)
        elif tail.in_doubt and (content.exists() or tail.sha256 not in standing):
            is_gone = "" if content.exists() else ", which is gone"
            yield Finding(
                kind=Kind.DOUBT, directory=view.id, file=str(content), sha256=tail.sha256,
                text=f"{content}{is_gone}: {tail.bytes:,} bytes of rows, {tail.why}",
            )  # fmt: skip


def _read(note: Path) -> tuple[str, str] | None:
    """Return the digest of a note, and what it says; None where it is gone meanwhile."""
    try:
        content = regular.content(note)
    except FileNotFoundError:
        return None
    try:
        facts = msgspec.json.decode(content)
        why = facts["why"] if isinstance(facts, dict) else content
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        why = "is not what a worker wrote"
    return hashlib.sha256(content).hexdigest(), str(why)
