"""What expires in `recovered/`: tails that were cut off, each with its note.

Copies of whole files there hold committed rows that may stand nowhere else: they stay, like all of `lost/`. What has
no note was put there by somebody, and is left alone.
"""

from pathlib import Path

from worker.durable import sync_directory
from worker.salvage import tails

_DAY_MS = 86_400_000


def expire_tails(directory: Path, keep_days: int, now_ms: int) -> int:
    """Remove tails that are older, the note last, and return how many that were. Raises OSError."""
    old = [note for note in tails(directory) if now_ms - note.lstat().st_mtime_ns // 1_000_000 >= keep_days * _DAY_MS]
    for note in old:
        note.with_name(note.name.removesuffix(".json")).unlink(missing_ok=True)
        note.unlink()
    if old:
        sync_directory(old[0].parent)
    return len(old)
