"""The end of a history: no more faults, everything is brought to its end, and what must hold then."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from schemas.events import TYPES
from tests.crash import counting, operator
from tests.crash.simulation import LOOK_SECONDS, Simulation
from tests.support.events import recipients_of
from tests.support.workers import PARTITION
from worker import identity, records
from worker.stream.directories import claimed
from worker.stream.retirement import RETIRED

#: What workers may say of a server that forgot; `file.short` where it got back what it had forgotten, after the rows
#: of that were kept aside as in doubt.
_ALLOWED = {
    "server.lost_its_tail", "file.forgotten", "file.unnamed", "file.cut", "file.short", "record.put_back",
    "entries.twice",
}  # fmt: skip


def finish(simulation: Simulation, gone: int | None = None) -> None:
    """Let late requests arrive and the living work on and stop; then start again those that had died.

    The worker of the slot `gone` dies and never comes back: others of its directory end what it leaves.
    """
    if gone is not None:
        simulation.kill(gone)
    _end_faults(simulation)
    _let_drain(simulation)
    living = list(simulation.processes)
    for number in living:
        simulation.stop(number)
    _run_out(simulation, range(len(simulation.slots)))
    for number in set(range(len(simulation.slots))) - {gone}:
        if gone is not None or number not in living or not simulation.is_drained() or _open_files(simulation):
            _live_once_more(simulation, number)
    for number in range(
        len(simulation.slots)
    ):  # of what was restored, or lost its identity, somebody says that it counts
        if number in simulation.refused and operator.decide(simulation, number):
            _live_once_more(simulation, number)
    if simulation.tail_was_lost and len(simulation.paths) > 1:
        for number in set(range(len(simulation.slots))) - {gone}:  # who was away has put back what it knows
            _live_once_more(simulation, number)


def _end_faults(simulation: Simulation) -> None:
    while simulation.wire.late:
        simulation.wire.deliver(0)
    if simulation.tail_was_lost:
        simulation.publish(1)  # the plugin hears what the server has not
    for process in simulation.processes.values():
        process.fault, process.fails_in = None, 0
    for troubles in simulation.troubles:
        troubles.end()


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
    for _ in range(400):
        simulation.step(number, 40)
        if number in simulation.refused and number not in simulation.processes:
            return
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
    places = counting_places(simulation)
    counted = {path: counting.counted(path) for path in places}
    found: Counter[str] = sum((each.rows for each in counted.values()), Counter())
    altered = {name for each in counted.values() for name in each.altered}
    assert altered <= {each.name for each in simulation.touched}, f"not as they were sealed: {altered}"
    if simulation.is_operated:
        in_doubt = {name for each in counted.values() for name in each.in_doubt}
        _check_what_was_handled(simulation, found, in_doubt=in_doubt, altered=altered)
    elif simulation.tail_was_lost:
        _check_what_was_forgotten(simulation, found)
    else:
        published = Counter(recipients_of(e for events in simulation.publisher.published.values() for e in events))
        found.update(_dead(simulation))
        assert not published - found, f"lost: {published - found}"
        assert not found - published, f"doubled: {found - published}"
        _check_alarms(simulation, ())
    assert simulation.is_drained()
    left = [file for file in _open_files(simulation) if _is_known(simulation, file)]
    assert not left, f"not sealed, and hold rows: {left}"
    trimmed = simulation.wire.client.hmget(simulation.keys.ledger, [f"{name}:trimmed" for name in TYPES])
    assert not any(int(count or 0) for count in trimmed), "trimmed, and a history is far shorter than a day"
    if not simulation.is_operated:
        _check_ledger(simulation, found)


def counting_places(simulation: Simulation) -> list[Path]:
    """Return the directories whose files count: of several copies the one that was started last."""
    known = claimed(simulation.wire.plain, PARTITION)
    places = []
    for path in simulation.paths:
        found = identity.read(path)
        if found and (found.directory not in known or known[found.directory].path == str(path)):
            places.append(path)
    return places


def _check_what_was_handled(
    simulation: Simulation, found: Counter[str], *, in_doubt: set[str], altered: set[str]
) -> None:
    """Compare the files with what was published, where somebody carried directories or changed files.

    What is excused, each because a person did it, and told: a row stands where that person put it (in another copy, in
    what a backup replaced), or a note or a record names the file that was changed, or its manifest tells; twice only in
    a file that is said to be altered or in doubt, or that a note on twice written entries names.
    """
    published = set(recipients_of(e for events in simulation.publisher.published.values() for e in events))
    elsewhere = {name for path in _not_counting(simulation) for name in counting.anywhere(path)}
    told = altered | {name for path in simulation.paths for name in _told_of(path)} | _recorded(simulation)
    changed = {name for each in simulation.touched if each.name in told for name in each.recipients}
    kept = set(_kept(simulation))
    missing = published - found.keys() - set(_dead(simulation)) - simulation.gone_with_the_server
    assert not missing - elsewhere - changed - kept, f"lost: {missing - elsewhere - changed - kept}"
    assert not found.keys() - published, f"nobody published: {found.keys() - published}"
    doubled = {name for name, count in found.items() if count > 1} - in_doubt - set(excused_twice(simulation))
    assert not doubled, f"doubled: {doubled}"


def _not_counting(simulation: Simulation) -> list[Path]:
    """Return the copies that were given up, and what stood where a backup was put."""
    return [*simulation.attic, *(set(simulation.paths) - set(counting_places(simulation)))]


def _recorded(simulation: Simulation) -> set[str]:
    """Return the names of files that records name: of one that is not there `status` and the audit tell."""
    stored = simulation.wire.client.hvals(simulation.keys.records)
    known = [records.decode(value) for value in stored if value]
    return {name for record in known if record for name in record.file_names}


def _told_of(path: Path) -> Iterator[str]:
    """Yield the names of the files that notes are about."""
    for note in counting.notes(path):
        yield str(note.get("file", "")).rpartition("/")[2]


def _check_what_was_forgotten(simulation: Simulation, found: Counter[str]) -> None:
    """Compare the files with what the server of a history that lost its tail has, and what it had acknowledged."""
    witness = simulation.wire.witness
    assert witness
    published = {name for events in simulation.publisher.published.values() for name in recipients_of(events)}
    missing = published - simulation.gone_with_the_server - found.keys() - set(_dead(simulation))
    if simulation.was_replaced_in_place:  # a late commit can run on what the server was: its rows are kept, and noted
        missing -= set(_kept(simulation))
    assert not missing, f"lost: {missing}"
    assert not found.keys() - published, f"nobody published: {found.keys() - published}"
    kept = set(_kept(simulation))
    gone = witness.must_stand() - found.keys() - (kept if simulation.was_replaced_in_place else set())
    assert not gone, f"acknowledged and gone: {gone}"
    nowhere = witness.acknowledged() - found.keys() - kept
    assert not nowhere, f"acknowledged, and not even kept aside: {nowhere}"
    doubled = {name for name, count in found.items() if count > 1} - set(excused_twice(simulation))
    assert not doubled - witness.without_keys(), f"doubled: {doubled - witness.without_keys()}"
    _check_alarms(simulation, _ALLOWED)


def excused_twice(simulation: Simulation) -> Iterator[str]:
    """Yield the recipients whose rows may stand twice, by docs/delivery.md: a worker that was away noted them.

    What it wrote was not handed in before the others went on, and a worker of another directory wrote it again.
    """
    keys = {key for path in simulation.paths for key in _noted_twice(path)}
    for event_type, events in simulation.publisher.published.items():
        for event in events:
            if f"{event_type} {str(event['eventId']).rpartition(':')[0]}" in keys:
                yield from recipients_of([event])


def _noted_twice(path: Path) -> Iterator[str]:
    for note in (path / "lost").glob("twice*.json"):
        yield from msgspec.json.decode(note.read_bytes())["entries"]


def _check_alarms(simulation: Simulation, allowed: Collection[str]) -> None:
    alarms = [told for told in simulation.alarms if told.split()[0] not in allowed]
    assert not alarms, f"told: {alarms}"


def _dead(simulation: Simulation) -> list[str]:
    """Return the recipients in dead letters: entries that were delivered too often."""
    letters = simulation.wire.client.xrange(simulation.keys.dead)
    return [name for _, letter in letters for name in recipients_of(msgspec.json.decode(letter[b"bytes"]))]


def _kept(simulation: Simulation) -> Iterator[str]:
    """Yield the recipients whose rows were kept aside."""
    for path in simulation.paths:
        for file in (path / "recovered").glob("*"):
            if file.suffix != ".json":
                yield from re.findall(r"\S+@example\.com", file.read_text())


def check_gone(simulation: Simulation, gone: int) -> None:
    """Make sure that nothing keeps a consumer that never came back from being retired."""
    if not (simulation.tail_was_lost or simulation.is_operated):
        answer = simulation.retire(gone)
        assert answer == RETIRED or "unknown" in answer, answer


def _open_files(simulation: Simulation) -> list[Path]:
    """Return the files that hold rows and are not sealed, of what counts."""
    return [file for path in counting_places(simulation) for file in counting.unsealed(path)]


def _is_known(simulation: Simulation, file: Path) -> bool:
    """Tell whether anything in its directory knows of a file.

    Where the books of names are lost in a copy or a backup, nothing knows of files that the record has dropped since:
    they stay as they are, and the audit finds fewer rows in files than were counted.
    """
    return not any(file.is_relative_to(path) for path in simulation.without_books)


def _check_ledger(simulation: Simulation, found: Counter[str]) -> None:
    """Compare what was counted; a server that forgets counts and acknowledgements forgets both.

    Rows are counted again with the record that is put back: these must be as many as stand in the files, whatever the
    server forgot. One excuse: the rows of a commit that nobody knows of any more. They can stand in a file that another
    worker had sealed before; or are kept aside, and counted by a server that got back what it had forgotten. The audit
    tells both.
    """
    ledger = {key.decode(): int(value) for key, value in simulation.wire.client.hgetall(simulation.keys.ledger).items()}
    counters = ("published", "rows", "events", "dead", "lost")
    counted = {what: sum(ledger[f"{name}:{what}"] for name in TYPES) for what in counters}
    standing = sum(found.values())
    standing -= len(_dead(simulation)) if not simulation.tail_was_lost else 0
    abandoned = simulation.wire.witness.abandoned() if simulation.wire.witness else set()
    if simulation.was_replaced_in_place:
        abandoned |= set(_kept(simulation))
    least, most = standing - len(abandoned & found.keys()), standing + len(abandoned - found.keys())
    assert least <= counted["rows"] <= most, (counted, standing)
    assert counted["events"] == counted["published"] - counted["dead"], counted
    assert counted["lost"] == 0
