"""The simulation: several real workers, on real files and one fake server, of which exactly one runs at a time.

Workers run in threads and hand the baton back before each operation on disk and around each request. What runs, dies,
stalls and loses replies is decided by a history alone, clocks included, so each run of a history is the same.
"""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from tests.crash.alarms import listen
from tests.crash.disk import Disk, install
from tests.crash.kernel import SimulatedKernel
from tests.crash.process import Process
from tests.crash.trouble import Troubles
from tests.crash.wire import NOTHING_TO_READ, Wire
from tests.crash.witness import Witness
from tests.support.events import recipients_of
from tests.support.publisher import Publisher
from tests.support.workers import PARTITION, changed, settings
from worker import assembly, loop, process_id
from worker.assembly import build_worker
from worker.batch import Renderer
from worker.elapsed import Clocks
from worker.errors import DirectoryRefused, DiskTrouble, Locked, NameTaken, StreamUnavailable
from worker.loop import Worker
from worker.patience import Pauses
from worker.settings import RowSettings, Settings
from worker.stream import setup
from worker.stream.keys import Keys
from worker.stream.retirement import retire

LOOK_SECONDS = 11.0  # after so long, workers look for what the dead left
_START = 1_795_373_300.0


class Slot(NamedTuple):
    """Where a worker can run: a consumer's name, and a directory."""

    name: str
    directory: int


class Timers:
    """Timers that never fire, in place of APScheduler's thread: the loop looks without them."""

    def __init__(self, *_: object) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def arm(self, _: str) -> None: ...
    def take_due(self) -> bool:
        return False


class Simulation:
    """Directories, a server, and the workers of a layout."""

    def __init__(
        self, base: Path, patch: pytest.MonkeyPatch, slots: Sequence[Slot], *, batch_entries: int = 1,
        max_size_bytes: int = 300, same_pids: bool = False, forgetful: bool = False,
        trace: Callable[..., None] | None = None,
    ) -> None:  # fmt: skip
        self.now = 0.0
        self.running: Process | None = None
        self.slots = list(slots)
        self._same_pids = same_pids
        self.tell = trace or (lambda *_: None)
        self.processes: dict[int, Process] = {}  # by number of the slot: the one that lives
        self.workers: dict[int, Worker] = {}
        self._pids = 1
        self._to_stop = set[int]()
        self.paths = [base / f"d{number}" / "files" for number in range(1 + max(slot.directory for slot in slots))]
        for path in self.paths:
            (path.parent / "stash").mkdir(parents=True)
            path.mkdir()
        self.kernel = SimulatedKernel([Disk(path, path.parent / "stash") for path in self.paths], self)
        self._limits = {"rotation": {"max_size_bytes": max_size_bytes, "interval_seconds": 20},
                        "stream": {"batch_entries": batch_entries}}  # fmt: skip
        self.settings = [self._settings_of(slot) for slot in slots]
        self.attic: list[Path] = []  # what directories were before they were restored
        self.moves = 0
        self.touched: list[Any] = []  # files that somebody changed from outside
        self.without_books: set[Path] = set()  # directories whose dot files were lost
        self.is_operated = False  # somebody copies, moves, restores directories, or changes files in them
        self.server_is_ahead = self.workers_are_ahead = 0.0  # their clocks, in seconds
        self.refused: set[int] = set()  # slots whose last start, or registration, was refused for their directory
        patch.setattr(time, "time", lambda: _START + self.now + self.server_is_ahead)
        patch.setattr(loop, "Schedule", Timers)
        patch.setattr(assembly, "Renderer", _renderer)  # pure, and long in the making
        self.wire = Wire(self.tell)
        patch.setattr(setup, "run_id", lambda _: str(self.wire.generation))
        patch.setattr(process_id, "mine", self._running_name)
        patch.setattr(
            process_id, "is_gone", lambda holder: holder not in {each.name for each in self.processes.values()}
        )
        install(self.kernel, patch)
        self.keys = Keys.of(PARTITION)
        self.wire.witness = Witness(self.wire.client, self.keys, self.paths) if forgetful else None
        self.publisher = Publisher(self.wire.client, PARTITION)
        self.publisher.publish_some(0)
        self._saved: dict[str, int] = {}  # by type: how many events had been published
        self.tail_was_lost = False
        self.was_replaced_in_place = (
            False  # the server's data, by older data, while its process and connections went on
        )
        self.gone_with_the_server: set[str] = set()  # recipients of events that no ring has any more
        self._is_disk_bad = False
        self.troubles = [Troubles() for _ in self.paths]
        self.alarms: list[str] = []  # what workers said that no worker has to say while the server forgets nothing
        listen(patch, self.alarms)

    def _settings_of(self, slot: Slot) -> Settings:
        mine = settings(self.paths[slot.directory], name=slot.name)
        for part, limits in self._limits.items():
            mine = changed(mine, part, **limits)
        return mine

    def add_slot(self, slot: Slot) -> int:
        """Have another place where a worker can run; returns its number."""
        self.slots.append(slot)
        self.settings.append(self._settings_of(slot))
        return len(self.slots) - 1

    def add_place(self, path: Path, disk: Disk) -> None:
        """Have another directory, on a disk of its own."""
        self.paths.append(path)
        self.kernel.disks.append(disk)
        self.troubles.append(Troubles())

    def place_moved(self, place: int, path: Path) -> None:
        """Take over where a directory stands now, all of it durable; nobody is at work in it."""
        self.paths[place] = path
        self.moves += 1
        stash = path.parent / f"stash{self.moves}"
        stash.mkdir()
        self.kernel.disks[place] = Disk(path, stash)
        for number, slot in enumerate(self.slots):
            if slot.directory == place:
                self.settings[number] = changed(self.settings[number], "directory", path=path)

    def settings_at_first(self, number: int) -> Settings:
        """Return the settings of a slot as they were before anybody changed them."""
        return self._settings_of(self.slots[number])

    def configure(self, number: int, settings: Settings) -> None:
        """Change the settings of a slot; its next start goes by them."""
        self.settings[number] = settings
        self.tell(f"{self.slots[number]} is configured anew")

    def set_clocks(self, *, workers: float = 0, server: float = 0) -> None:
        """Set the wall clocks of all workers, or the server's, ahead or back.

        The server's not back: fakeredis claims no entry that was delivered in its future, which servers do.
        """
        self.workers_are_ahead += workers
        self.server_is_ahead += server

    @property
    def clocks(self) -> Clocks:
        """Return the clocks of the machine on which the workers run; a history is far shorter than a day of theirs."""
        return Clocks(
            wall_ms=lambda: int((_START + self.now + self.workers_are_ahead) * 1000),
            elapsed_seconds=lambda: self.now, account=lambda: "simulated",
        )  # fmt: skip

    def _running_name(self) -> str:
        assert self.running
        return self.running.name

    # What a history does

    def start(self, number: int) -> None:
        """Start the worker of a slot, unless it lives."""
        if number not in self.processes:
            slot = self.slots[number]
            self.refused.discard(number)
            self._pids += 1
            pid = 7 if self._same_pids else self._pids
            self.processes[number] = Process(
                f"{slot.name}@d{slot.directory}#{self._pids}", lambda process: self._work(number, process), pid=pid
            )

    def _work(self, number: int, process: Process) -> None:
        slept = [0.0]

        def sleep(seconds: float) -> None:
            slept[0] += seconds
            process.wait("sleep")

        def wall() -> float:
            return _START + self.now + self.workers_are_ahead

        pauses = Pauses(monotonic=lambda: self.now + slept[0], sleep=sleep, jitter=lambda: 0.5, wall=wall)
        before, changes = self._rows_of(number), len(self.touched)
        connect: Any = lambda: self.wire.connect(process)  # noqa: E731
        try:
            worker = build_worker(self.settings[number], "", connect=connect, pauses=pauses)
            self.workers[number] = worker
            if number in self._to_stop:
                worker.stop()
            worker.run()
        except (Locked, NameTaken) as error:
            self.tell(process.name, "exits:", error)
        except DirectoryRefused as error:
            self.refused.add(number)
            self.tell(process.name, "is refused:", error)
            is_start = number not in self.workers or self.workers[number]._committed.record is None
            if is_start and changes == len(self.touched):
                assert before == self._rows_of(number), "a start that was refused has changed files"
        except DiskTrouble as error:  # two processes of one number make the directory's id: one has to start again
            self.tell(process.name, "exits:", error)
            if not (self._same_pids or self._is_disk_bad):
                raise

    def _rows_of(self, number: int) -> dict[str, bytes]:
        """Return what stands in a slot's directory where nobody else works: rows, and what tells of them."""
        place = self.slots[number].directory
        if not self.is_operated or sum(slot.directory == place for slot in self.slots) > 1:
            return {}
        files = (each for each in self.paths[place].rglob("*") if each.is_file() and "series" not in each.parts)
        return {str(each): each.read_bytes() for each in files if each.name[0] != "." and each.name != "accounting.id"}

    def step(self, number: int, operations: int) -> None:
        """Let the worker of a slot do some operations."""
        process = self.processes.get(number)
        if process is None:
            return
        self.running = process
        process.resume(operations)
        self.running = None
        if process.done:
            self._bury(number)
        elif process.next == NOTHING_TO_READ:
            self._check_locks(number)

    def _check_locks(self, number: int) -> None:
        """Check that an idle worker has no other file open than its own: nobody else could seal it."""
        worker, process = self.workers[number], self.processes[number]
        own = {worker._directory._lock._descriptor, worker._journal._descriptor}
        own |= {file.descriptor for file in (*worker._files._held.values(), *worker._files._sealed.values())}
        opened = {descriptor for descriptor, (owner, _) in self.kernel.opened.items() if owner is process}
        assert opened <= own, "a file that is not its own stays open, and locked"

    def step_to(self, number: int, what: str, *, at_most: int = 1000) -> None:
        """Let a worker go on until it stands before an operation whose description holds these words."""
        for _ in range(at_most):
            if number in self.processes and what in self.processes[number].next:
                return
            self.step(number, 1)
        raise AssertionError(f"{self.slots[number]} never comes to {what}")

    def _bury(self, number: int) -> None:
        process = self.processes.pop(number)
        self.workers.pop(number, None)
        self._to_stop.discard(number)
        self.kernel.close_descriptors(process)
        if self.wire.witness:
            self.wire.witness.died(process)
        if process.error:
            raise process.error

    def kill(self, number: int) -> None:
        """Let the worker of a slot die where it stands."""
        process = self.processes.get(number)
        if process is not None:
            self.tell(f"kill {process.name}")
            self.running = process
            process.kill()
            self.running = None
            self._bury(number)

    def power_loss(self, directory: int, chance: random.Random) -> None:
        """Let all workers of a directory die, and its disk lose a random part of what was not durable."""
        for number, slot in enumerate(self.slots):
            if slot.directory == directory:
                self.kill(number)
        self.tell(f"power loss of d{directory}")
        self.kernel.disks[directory].power_loss(chance)
        if self.wire.witness:
            self.wire.witness.power_was_cut(self.paths[directory])

    def stop(self, number: int) -> None:
        """Ask the worker of a slot to stop, as SIGTERM does; one that is being put together, as soon as it is."""
        if number in self.workers:
            self.workers[number].stop()
        elif number in self.processes:
            self._to_stop.add(number)

    def lapse(self, number: int) -> None:
        """Let a lease run out, and so much time pass that everybody looks around."""
        self.wire.client.delete(self.keys.lease(self.slots[number].name))
        self.now += LOOK_SECONDS

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def break_next(self, number: int, fault: str) -> None:
        """Let the next request of a worker meet a fault."""
        if number in self.processes:
            self.processes[number].fault = fault

    def break_disk(self, number: int, operations: int) -> None:
        """Let the last one of a worker's next operations on its disk fail."""
        self._is_disk_bad = True
        if number in self.processes:
            self.processes[number].fails_in = operations

    def publish(self, batches: int) -> None:
        """Publish some entries, those of different types at once."""
        self.publisher.publish_at_once(batches)

    def retire(self, number: int) -> str:
        """Retire a consumer as an operator does; returns what is answered."""
        name = self.slots[number].name
        try:
            answer = retire(self.wire.plain, PARTITION, name)
        except StreamUnavailable as error:  # nothing is set up yet
            answer = f"unknown: {error}"
        self.tell(f"retire {name}: {answer}")
        return answer

    def save(self) -> None:
        """Let the server save itself."""
        self.wire.save()
        self._saved = {name: len(events) for name, events in self.publisher.published.items()}

    def lose_tail(self, *, again: bool) -> None:
        """Let the server restart without what it did since it was saved; the plugin may send again what it forgot."""
        self.forget(again=again)

    def forget(self, *, again: bool, everything: bool = False, restarts: bool = True, unanswered: bool = False) -> None:
        """Let the server forget; the plugin sends its ring again, or is another process that has none.

        It hears that batches are gone when it publishes the next one, or sends one again that was `unanswered`.
        """
        if not self.wire.forget(everything=everything, restarts=restarts):
            return
        self.tell("the server forgets", "everything" if everything else "its tail", "restarts" if restarts else "")
        self.tail_was_lost = True
        self.was_replaced_in_place |= not restarts and not everything
        kept = {} if everything else self._saved
        forgotten = [e for name, events in self.publisher.published.items() for e in events[kept.get(name, 0) :]]
        coming = [each for each in forgotten if again and self.publisher.can_send_again(each)]
        self.gone_with_the_server |= set(recipients_of(forgotten)) - set(recipients_of(coming))
        if again and unanswered:
            self.publisher.catch_up()
        elif again:
            self.publish(1)
        elif forgotten:
            self.publisher.restart()

    def trouble_disk(self, directory: int, kind: str, times: int) -> None:
        """Let a disk answer with errors, for so many operations."""
        self._is_disk_bad = True
        self.troubles[directory].begin(kind, times)

    def troubles_of(self, process: Process) -> Troubles:
        """Return the troubles of a process's disk."""
        [number] = [number for number, each in self.processes.items() if each is process]
        return self.troubles[self.slots[number].directory]

    def is_drained(self) -> bool:
        """Tell whether no entry is unread or pending."""
        return all(self._is_read(key) for key in self.keys.streams.values())

    def _is_read(self, key: str) -> bool:
        try:
            groups = self.wire.client.xinfo_groups(key)
        except redis.ResponseError:  # nobody has set the stream up
            return False
        return bool(groups) and not any(group["pending"] or group["lag"] for group in groups)

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes.values():
            self.running = process
            process.kill()
            self.kernel.close_descriptors(process)
        self.running = None


_renderers: list[tuple[RowSettings, Renderer]] = []


def _renderer(rows: RowSettings) -> Renderer:
    """Return the one that all workers with such rows share."""
    for known, made in _renderers:
        if known == rows:
            return made
    _renderers.append((rows, Renderer(rows)))
    return _renderers[-1][1]
