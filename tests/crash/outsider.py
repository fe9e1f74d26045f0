"""What somebody from outside does to an accounting file: an editor, `echo >>`, logrotate, `rm`."""

import os
from pathlib import Path
from typing import NamedTuple

from tests.crash.counting import recipients, unsealed
from tests.crash.simulation import Simulation

DEEDS = ("truncate", "append", "change a byte", "replace", "remove", "copytruncate")


class Touched(NamedTuple):
    """A file that was changed, and the recipients in it before."""

    place: int
    name: str
    deed: str
    recipients: frozenset[str]


def change(simulation: Simulation, number: int, amount: int) -> None:
    """Change one of the open files with rows in a slot's directory, where there is one."""
    place = simulation.slots[number].directory
    path = simulation.paths[place]
    files = list(unsealed(path)) if path.exists() else []
    if not files:
        return
    file, deed = files[amount % len(files)], DEEDS[amount % len(DEEDS)]
    simulation.touched.append(Touched(place, file.name, deed, frozenset(recipients(file.read_bytes()))))
    simulation.tell(f"{deed}: {file.name} of d{place}")
    _do(deed, file)


def _do(deed: str, file: Path) -> None:
    content, mode = file.read_bytes(), file.stat().st_mode & 0o777
    file.chmod(0o640)
    match deed:
        case "truncate":
            os.truncate(file, len(content) * 2 // 3)
        case "copytruncate":
            os.truncate(file, 0)
        case "append":
            with file.open("ab") as opened:
                opened.write(b"by hand\n")
        case "change a byte":
            at = content.index(b"\n") + 2
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        case "replace":
            other = file.with_name("other")
            other.write_bytes(b"of somebody else\n")
            other.replace(file)
        case "remove":
            file.unlink()
    if file.exists() and deed != "replace":
        file.chmod(mode)
