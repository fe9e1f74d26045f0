"""The end of a history: no more faults, everything is brought to its end, and what must hold then."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from schemas.events import TYPES
from tests.crash.simulation import LOOK_SECONDS, Simulation
from tests.support.events import recipients_of
from tests.support.files import check_manifest, data_files, recipients_in, sealed_files
from worker.stream.retirement import RETIRED


def finish(simulation: Simulation, gone: int | None = None) -> None:
    """Let late requests arrive and the living work on and stop; then start again those that had died.

    The worker of the slot `gone` dies and never comes back: others of its directory end what it leaves.
    """
    if gone is not None:
        simulation.kill(gone)
    while simulation.wire.late:
        simulation.wire.deliver(0)
    for process in simulation.processes.values():
        process.fault, process.fails_in = None, 0
    _let_drain(simulation)
    living = list(simulation.processes)
    for number in living:
        simulation.stop(number)
    _run_out(simulation, range(len(simulation.slots)))
    for number in set(range(len(simulation.slots))) - {gone}:
        if gone is not None or number not in living or not simulation.is_drained() or list(_unsealed(simulation)):
            _live_once_more(simulation, number)


def _let_drain(simulation: Simulation) -> None:
    """Let the living work until nothing is unread or pending."""
    for turn in range(60):
        if turn % 20 == 0:  # again: the end of a worker whose name was taken leaves a lease, too
            simulation.wire.client.delete(*[simulation.keys.lease(each.name) for each in simulation.slots])
            simulation.now += LOOK_SECONDS
        for number in list(simulation.processes):
            simulation.step(number, 50)
        if simulation.is_drained():
            break
    else:
        assert not simulation.processes, "the living do not drain"


def _live_once_more(simulation: Simulation, number: int) -> None:
    """Start a worker, let it do all that there is to do, and stop it."""
    simulation.wire.client.delete(*[simulation.keys.lease(each.name) for each in simulation.slots])
    simulation.start(number)
    simulation.now += LOOK_SECONDS
    for _ in range(100):
        simulation.step(number, 40)
        if number in simulation.workers and simulation.workers[number]._started and simulation.is_drained():
            break
    else:
        raise AssertionError(f"{simulation.slots[number]} does not drain")
    for _ in range(3):
        simulation.now += LOOK_SECONDS
        simulation.step(number, 40)
    simulation.stop(number)
    _run_out(simulation, [number])


def _run_out(simulation: Simulation, numbers: Sequence[int]) -> None:
    for _ in range(2000):
        for number in numbers:
            simulation.step(number, 25)
        if not any(number in simulation.processes for number in numbers):
            return
    raise AssertionError("a worker does not stop")


def check(simulation: Simulation) -> None:
    """Compare files and ledger with what was published."""
    published = Counter(recipients_of(e for events in simulation.publisher.published.values() for e in events))
    found: Counter[str] = sum((recipients_in(path) for path in simulation.paths), Counter())
    for _, letter in simulation.wire.client.xrange(simulation.keys.dead):  # entries that were delivered too often
        found.update(recipients_of(msgspec.json.decode(letter[b"bytes"])))
    assert not published - found, f"lost: {published - found}"
    if not simulation.tail_was_lost:
        assert not found - published, f"doubled: {found - published}"
    assert simulation.is_drained()
    for path in simulation.paths:
        for name in TYPES:
            for file in sealed_files(path, name):
                check_manifest(file)
    assert not list(_unsealed(simulation)), "files that are not sealed hold rows"
    if not simulation.tail_was_lost:
        assert not simulation.alarms, f"told: {simulation.alarms}"
        _check_ledger(simulation, sum(published.values()))


def check_gone(simulation: Simulation, gone: int) -> None:
    """Make sure that nothing keeps a consumer that never came back from being retired."""
    if not simulation.tail_was_lost:
        answer = simulation.retire(gone)
        assert answer == RETIRED or "unknown" in answer, answer


def _unsealed(simulation: Simulation) -> Iterator[Path]:
    """Yield the files that hold rows and are not sealed."""
    for path in simulation.paths:
        for name in TYPES:
            for file in set(data_files(path, name)) - set(sealed_files(path, name)):
                if file.read_bytes().count(b"\n") > 1:
                    yield file


def _check_ledger(simulation: Simulation, events: int) -> None:
    ledger = {key.decode(): int(value) for key, value in simulation.wire.client.hgetall(simulation.keys.ledger).items()}
    counted = {what: sum(ledger[f"{name}:{what}"] for name in TYPES) for what in ("rows", "events", "dead", "lost")}
    assert counted["events"] == counted["rows"] == events - counted["dead"], counted
    assert counted["lost"] == 0
