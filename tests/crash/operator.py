"""What an operator does to directories, settings and entries while the simulation runs, or between two starts."""

import shutil
from pathlib import Path

import msgspec
import redis

from tests.crash.disk import Disk
from tests.crash.simulation import Simulation, Slot
from tests.support.workers import PARTITION
from worker import identity, ownership
from worker.chores import Chores
from worker.errors import DirectoryRefused
from worker.janitor import Janitor
from worker.settings import JanitorSettings
from worker.stream import time_line
from worker.stream.directories import claimed

_TORN_BYTES = 7  # cut off the end of a journal that was copied while it was written


def copy(simulation: Simulation, number: int, *, torn: bool = False, name: str | None = None) -> int:
    """Copy the directory of a slot as it stands, and give the copy a worker, not started; returns its slot.

    `torn`: the copy was made while files were written: the last line of each journal is cut short. A worker has the
    name of the copied slot unless another is given.
    """
    source = simulation.paths[simulation.slots[number].directory]
    place = len(simulation.paths)
    path = source.parent.parent / f"d{place}" / "files"
    (path.parent / "stash").mkdir(parents=True)
    shutil.copytree(source, path, symlinks=True)
    if torn:
        for journal in (path / "journal").glob("*"):
            journal.write_bytes(journal.read_bytes()[:-_TORN_BYTES])
    if source in simulation.without_books:
        simulation.without_books.add(path)
    simulation.add_place(path, Disk(path, path.parent / "stash"))
    simulation.tell(f"copy of d{simulation.slots[number].directory}: d{place}")
    return simulation.add_slot(Slot(name or simulation.slots[number].name, place))


def move(simulation: Simulation, number: int, *, by_copying: bool) -> None:
    """Stop whoever is at work in a directory as a kill does, and move it: renamed, or copied and removed."""
    place = simulation.slots[number].directory
    _kill_all(simulation, place)
    source = simulation.paths[place]
    target = source.parent / f"moved{simulation.moves}"
    if by_copying:
        shutil.copytree(source, target, symlinks=True)
        shutil.rmtree(source)
    else:
        source.rename(target)
    simulation.tell(f"d{place} moves to {target.name}")
    if source in simulation.without_books:
        simulation.without_books.add(target)
    simulation.place_moved(place, target)


def keep(simulation: Simulation, number: int) -> None:
    """Make a backup of the directory of a slot as it stands."""
    path = simulation.paths[simulation.slots[number].directory]
    shutil.rmtree(_backup(path), ignore_errors=True)
    shutil.copytree(path, _backup(path), symlinks=True)


def restore(simulation: Simulation, number: int) -> None:
    """Stop whoever is at work in a directory as a kill does, and put its backup in its place, where there is one.

    What stood there goes to the attic: rows that the backup does not have are there and there alone.
    """
    place = simulation.slots[number].directory
    path = simulation.paths[place]
    if not _backup(path).exists():
        return
    _kill_all(simulation, place)
    simulation.attic.append(path.with_name(f"attic{len(simulation.attic)}"))
    path.rename(simulation.attic[-1])
    shutil.copytree(_backup(path), path, symlinks=True)
    simulation.tell(f"d{place} is restored")
    simulation.place_moved(place, path)


def lose_dot_files(simulation: Simulation, number: int, *, identity_too: bool) -> None:
    """Stop whoever is at work in a directory as a kill does, and let its dot files go, as `cp *` does."""
    place = simulation.slots[number].directory
    _kill_all(simulation, place)
    path = simulation.paths[place]
    for file in [each for each in path.rglob(".*") if each.is_file()]:
        file.unlink()
    if identity_too:
        (path / identity.NAME).unlink(missing_ok=True)
    simulation.without_books.add(path)
    simulation.tell(f"d{place} loses its dot files", "and its identity" if identity_too else "")
    simulation.place_moved(place, path)


def decide(simulation: Simulation, number: int) -> bool:
    """Say what goes on where the directory of a slot is refused; False for the copy of one that does.

    What was restored or has lost its identity is the one. A place where nothing tells what it was is begun anew.
    """
    settings = simulation.settings[number]
    known = claimed(simulation.wire.plain, PARTITION)
    try:
        directory = ownership.id_here(settings.directory)
    except DirectoryRefused:
        ownership.begin_anew(settings.directory, settings.names, PARTITION)
        return True
    last = known.get(directory)
    if last and last.path != str(settings.directory.path) and Path(last.path) in simulation.paths:
        return False
    ownership.adopt(settings.directory, PARTITION, directory, last)
    return True


def tidy(simulation: Simulation, number: int) -> None:
    """Run the janitor of a slot's directory, for which files are old after a day."""
    settings = simulation.settings[number]
    asked, archiving = JanitorSettings(keep_days=1), settings.rotation.archiving
    janitor = Janitor(settings.directory, asked, archiving=archiving, clocks=simulation.clocks)
    janitor.tick()


def do_chores(simulation: Simulation, number: int) -> None:
    """Do all chores of a worker that lives: trim the streams to a day, retire, prune producers, look for losses."""
    if worker := simulation.workers.get(number):
        settings = msgspec.structs.replace(simulation.settings[number].stream, retention_days=1)
        Chores(simulation.wire.plain, settings, worker._directory, simulation.clocks).run()


def set_server_clock(simulation: Simulation, seconds: float) -> None:
    """Set the server's clock ahead, once a worker has begun to count the time that passes there, as each soon does."""
    for number in list(simulation.workers):
        do_chores(simulation, number)
    if simulation.wire.client.hexists(simulation.keys.watch, time_line.FIELD):
        simulation.set_clocks(server=seconds)


def claim(simulation: Simulation, number: int, to: str) -> None:
    """Claim what a slot's consumer has pending for another one, as an operator can: XCLAIM with no idle time."""
    name, client = simulation.slots[number].name, simulation.wire.client
    for key in simulation.keys.streams.values():
        ids = [each["message_id"] for each in _pending(simulation, key, name)]
        if ids:
            client.xclaim(key, "accounting", to, 0, ids)
    simulation.tell(f"what {name} has in hand is claimed for {to}")


def _pending(simulation: Simulation, key: str, name: str) -> list[dict[str, object]]:
    try:
        return list(simulation.wire.client.xpending_range(key, "accounting", "-", "+", 1000, name))
    except redis.ResponseError:  # nobody has set the stream up
        return []


def _kill_all(simulation: Simulation, place: int) -> None:
    for number, slot in enumerate(simulation.slots):
        if slot.directory == place:
            simulation.kill(number)


def _backup(path: Path) -> Path:
    return path.with_name("backup")
