"""A directory for inputs that have to be files: in memory where there is such a place, one for each process."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - a new directory of a name that nobody can guess


@cache
def scratch() -> Path:
    """Return the directory, which goes with the process."""
    made = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
