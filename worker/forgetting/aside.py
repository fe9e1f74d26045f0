"""What was kept aside (`recovered/`, `lost/`) or noted (`accepted/`) and holds an address.

These files are replaced under their own names. The notes beside tails go on saying what was cut off, by its length and
digest: that is how an acceptance knows it.
"""

import stat
from collections.abc import Iterator
from pathlib import Path

from worker import regular, salvage
from worker.audit import acceptance
from worker.durable import write_durably
from worker.erasure.lines import Eraser
from worker.forgetting.target import Target
from worker.forgotten import Standing, State
from worker.janitor.forget import joined
from worker.series import Series, load
from worker.settings import Format

FOLDERS = (salvage.RECOVERED, salvage.LOST, acceptance.FOLDER)


class Aside:
    """The folders beside the accounting files; `missed` says what could not be looked at."""

    def __init__(self, target: Target, directory: Path) -> None:
        self._target = target
        self._directory = directory
        self._series = load(directory)
        self.missed: list[str] = []

    def standing(self, *, remove: bool) -> Iterator[Standing]:
        """Yield where the address stands; with `remove` it does not any more."""
        for folder in FOLDERS:
            for path in sorted((self._directory / folder).rglob("*")):
                try:
                    if stat.S_ISREG(path.lstat().st_mode):
                        yield from self._file(path, remove=remove)
                except FileNotFoundError:
                    continue  # expired, or renamed by who wrote it
                except OSError as error:
                    self.missed.append(f"{path}: {error.strerror}")

    def _file(self, path: Path, *, remove: bool) -> Iterator[Standing]:
        eraser = self._eraser(path)
        with regular.opened(path) as content:
            count = sum(eraser.line(line) is not line for line in content)
        if not count:
            return
        if remove:
            mode = stat.S_IMODE(path.lstat().st_mode)
            with regular.opened(path) as content:
                write_durably(path, joined(map(eraser.line, content)), mode)
            path.chmod(mode)  # whatever the umask took away
        state = State.REMOVED if remove else State.FOUND
        yield Standing(kind="set aside", where=str(path), count=count, state=state)

    def _eraser(self, path: Path) -> Eraser:
        """Return what takes the address out of a file, by the series of the tail that it is."""
        tail = salvage.read_tail_note(path.with_name(path.name + ".json"))
        series: Series | None = self._series.get(tail.series or "") if tail else None
        if series is None:
            return self._target.any_text
        return self._target.eraser(Format(series.format), series.separator, series.columns)
