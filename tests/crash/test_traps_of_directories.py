"""Traps of directories that are copied, moved or started twice, and of entries that somebody else claimed."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.crash import operator
from tests.crash.conftest import Simulate
from tests.crash.simulation import Simulation
from tests.crash.test_traps import end, lose_commit, pending_of
from tests.crash.test_traps_of_forgetting import rows, work
from tests.support.files import data_files


def content(path: Path) -> dict[str, bytes]:
    """Return what stands in a directory, but for what a start notes of itself: locks, its token, the time."""
    noted = {"accounting.id", ".passed-time", ".janitor"}
    files = {str(each.relative_to(path)): each for each in path.rglob("*") if each.is_file()}
    return {name: each.read_bytes() for name, each in files.items() if name not in noted and "lock" not in name}


def start_refused(simulation: Simulation, number: int, *, beside: Sequence[int] = ()) -> None:
    """Start a worker that has to be refused, and let it change nothing in its directory; others work beside it."""
    before = content(simulation.paths[simulation.slots[number].directory])
    simulation.start(number)
    for _ in range(60):
        simulation.step(number, 100)
        work(simulation, *beside)
        simulation.wait(5)
    assert number in simulation.refused
    assert content(simulation.paths[simulation.slots[number].directory]) == before


@pytest.mark.parametrize("name", ["a", "z"])
def test_trap_49_a_copy_is_refused_while_the_original_works(simulate: Simulate, name: str) -> None:
    one = simulate("one")
    one.publish(3)
    work(one, 0)
    other = operator.copy(one, 0, name=name)
    start_refused(one, other, beside=[0])
    one.publish(3)
    work(one, 0)
    assert rows_at(one, 0) == 6
    assert one.is_drained()


def test_trap_50_of_two_directories_that_were_copied_before_a_claim_one_goes_on(simulate: Simulate) -> None:
    one = simulate("one", starts=())
    one.start(0)
    one.step_to(0, "register")  # it has drawn a token, and claimed nothing yet
    other = operator.copy(one, 0)
    one.kill(0)
    one.start(other)
    one.publish(3)
    work(one, other)
    one.stop(other)
    work(one, other)
    start_refused(one, 0)
    assert rows_at(one, 1) == 3


def test_trap_51_a_claim_that_arrives_late_keeps_nobody_from_starting_again(simulate: Simulate) -> None:
    one = simulate("one", starts=())
    one.start(0)
    one.step_to(0, "register")
    one.break_next(0, "late")
    one.step(0, 1)
    one.kill(0)
    one.start(0)
    one.step_to(0, "register")
    one.wire.deliver(0)
    one.publish(3)
    work(one, 0)
    assert 0 not in one.refused
    end(one)


def test_trap_52_a_claim_that_was_made_before_a_death_keeps_nobody_from_starting_again(simulate: Simulate) -> None:
    one = simulate("one", starts=())
    one.start(0)
    one.step_to(0, "register")
    one.step(0, 1)
    one.kill(0)  # before it hears of it
    one.start(0)
    one.publish(3)
    work(one, 0)
    assert 0 not in one.refused
    end(one)


def test_trap_53_a_neighbour_goes_on_where_the_reply_to_a_claim_was_lost(simulate: Simulate) -> None:
    two = simulate("two", starts=(1,))
    two.start(0)
    two.step_to(0, "register")
    two.break_next(0, "reply lost")
    two.step(0, 1)
    two.publish(3)
    lose_commit(two, 1, "reply lost")  # so that it registers again
    work(two, 1)
    assert 1 not in two.refused
    end(two)


def test_trap_54_nobody_of_the_original_commits_once_a_copy_was_started(simulate: Simulate) -> None:
    two = simulate("two")
    two.publish(3)
    two.step_to(1, "commit")
    other = operator.copy(two, 0)
    for number in (0, 1):
        two.lapse(number)  # both stall
    two.start(other)
    two.step_to(other, "arrive")
    two.step(1, 1)
    assert pending_of(two, 1) == 3  # refused
    work(two, 1)
    assert 1 in two.refused
    work(two, other)
    two.lapse(1)
    work(two, other)
    assert rows_at(two, 1) == 3


@pytest.mark.parametrize("by_copying", [True, False])
def test_trap_55_a_directory_that_was_moved_goes_on_with_every_row_in_its_place(
    simulate: Simulate, *, by_copying: bool
) -> None:
    one = simulate("one")
    one.publish(3)
    work(one, 0)
    operator.move(one, 0, by_copying=by_copying)
    one.start(0)
    one.publish(3)
    work(one, 0)
    assert rows(one) == 6
    assert not list(one.paths[0].glob("recovered/*"))
    assert not list(one.paths[0].glob("lost/*"))
    end(one)


def test_trap_56_entries_that_somebody_claimed_for_another_worker_have_their_rows_once(two: Simulation) -> None:
    two.publish(3)
    two.step_to(0, "commit")
    operator.claim(two, 0, "b")
    work(two, 1)
    work(two, 0)
    assert rows(two) == 3
    end(two)


def test_trap_57_as_many_entries_as_are_in_hand_are_not_those_in_hand(two: Simulation) -> None:
    two.step_to(0, "XREADGROUP")
    two.break_next(0, "late")
    two.step(0, 1)
    work(two, 0)  # registered again
    two.publish(1)
    two.step_to(0, "commit")
    operator.claim(two, 0, "b")
    work(two, 1)  # writes and commits it
    two.publish(3)
    two.wire.deliver(0)  # the read brings another entry of each type
    assert pending_of(two, 0) == 3
    work(two, 0)
    work(two, 1)
    assert rows(two) == 4
    end(two)


def test_a_file_in_the_place_of_one_of_a_dead_worker_stays_and_what_is_gone_is_noted(two: Simulation) -> None:
    two.publish(3)
    work(two, 0)
    two.kill(0)
    [file] = [each for each in data_files(two.paths[0], "bounce") if b"@example.com" in each.read_bytes()]
    file.unlink()
    file.write_bytes(b"of somebody else\n")
    two.lapse(0)
    work(two, 1)
    notes = [json.loads(note.read_text()) for note in two.paths[0].glob("lost/*.missing.json")]
    assert [note["committed_rows"] for note in notes] == [1]
    assert any(b"of somebody else" in each.read_bytes() for each in two.paths[0].rglob("*") if each.is_file())


def rows_at(simulation: Simulation, place: int) -> int:
    """Return how many rows stand in the accounting files of one directory."""
    path = simulation.paths[place]
    files = [file for event_type in TYPES for file in data_files(path, event_type)]
    return sum(file.read_bytes().count(b"\n") - 1 for file in files)
