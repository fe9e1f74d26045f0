"""The traps of the protocol that need several operations interleaved, one by one (docs/traps.md lists all)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.events import TYPES
from tests.crash.conftest import Simulate, Worst
from tests.crash.ending import check, finish
from tests.crash.simulation import Simulation
from tests.support.files import data_files, sealed_files


def end(simulation: Simulation) -> None:
    """Bring everything to its end: each row has to stand once."""
    finish(simulation)
    check(simulation)


def pending_of(simulation: Simulation, number: int) -> int:
    """Return how many entries a worker has had and not acknowledged."""
    name, client = simulation.slots[number].name, simulation.wire.client
    return sum(
        len(client.xpending_range(key, "accounting", "-", "+", 100, name)) for key in simulation.keys.streams.values()
    )


def lose_commit(simulation: Simulation, number: int, fault: str) -> None:
    """Let a worker commit rows, and the reply be lost; `late`: the commit is on its way and runs when delivered."""
    simulation.step_to(number, "commit")
    simulation.break_next(number, fault)
    simulation.step(number, 1)


def files_with_rows(simulation: Simulation) -> Iterator[Path]:
    """Yield the files that hold more than a header."""
    for path in simulation.paths:
        for event_type in TYPES:
            yield from (file for file in data_files(path, event_type) if file.read_bytes().count(b"\n") > 1)


def recorded(simulation: Simulation) -> bytes:
    """Return all records as they are stored."""
    return b"".join(simulation.wire.client.hvals(simulation.keys.records))


def test_trap_1_what_the_dead_left_is_claimed_only_after_the_own_entries_are_committed(simulate: Simulate) -> None:
    two = simulate("two", batch_entries=1)
    two.publish(12)
    for number in (0, 1):
        two.step_to(number, "commit")
        two.kill(number)
    two.lapse(0)
    two.start(1)
    two.step_to(1, "take_over")
    assert pending_of(two, 1) == 0
    assert pending_of(two, 0) == 6
    end(two)


def test_trap_3_rows_are_durable_before_their_entries_are_acknowledged(simulate: Simulate) -> None:
    one = simulate("one")
    one.publish(3)
    one.step_to(0, "commit")
    one.step(0, 1)
    assert one.is_drained()
    one.power_loss(0, Worst())
    end(one)


def test_trap_4_the_record_counts_a_row_as_soon_as_its_entry_is_acknowledged(simulate: Simulate) -> None:
    one = simulate("one")
    one.publish(3)
    one.step_to(0, "commit")
    one.step(0, 1)
    assert one.is_drained()
    one.kill(0)  # before it hears of it; the next one cuts to the record
    end(one)


def test_trap_5_a_record_names_a_file_before_its_first_row_and_a_scan_finds_no_other_with_rows(
    simulate: Simulate,
) -> None:
    two = simulate("two", starts=(1,), max_size_bytes=100)
    two.start(0)
    for _ in range(2):  # with the files of its start, and with those that follow full ones
        two.publish(3)
        two.step_to(0, "XREADGROUP")
        two.step_to(0, "commit")  # rows appended
        assert [file for file in files_with_rows(two) if file.name.encode() not in recorded(two)] == []
        two.step(0, 1)
    two.kill(0)
    two.lapse(0)
    two.step(1, 300)  # looks around, and tells of any file with rows that no record names
    end(two)


def test_trap_7_a_commit_is_not_sent_again_under_the_epoch_of_a_new_registration(two: Simulation) -> None:
    two.publish(1)
    lose_commit(two, 0, "late")
    two.wire.late.clear()  # it never arrives
    two.lapse(0)
    two.step(1, 200)  # the other takes the entry over and commits its row
    assert two.is_drained()
    two.step(0, 50)
    end(two)


def test_trap_8_a_row_whose_commit_ran_unheard_stays_when_another_took_over_what_was_read_ahead(
    simulate: Simulate,
) -> None:
    two = simulate("two", batch_entries=1)
    two.publish(6)
    lose_commit(two, 0, "reply lost")
    assert pending_of(two, 0) == 3  # read ahead
    two.lapse(0)
    two.step(1, 200)  # fences the first one, and writes what it had read ahead
    assert two.is_drained()
    two.step_to(0, "register")
    two.step(0, 100)
    end(two)


def test_trap_8_a_commit_that_runs_late_just_before_the_registration_counts(two: Simulation) -> None:
    two.publish(3)
    lose_commit(two, 0, "late")
    two.step_to(0, "register")
    two.wire.deliver(0)
    two.step(0, 100)
    end(two)


def test_trap_2_a_commit_that_was_on_its_way_when_its_file_was_seized_is_refused(two: Simulation) -> None:
    two.publish(3)
    lose_commit(two, 0, "late")
    two.kill(0)
    two.wait(11)  # its lease lives: its entries stay where they are, its files do not
    two.step(1, 300)
    two.wire.deliver(0)
    assert pending_of(two, 0) == 3
    end(two)


def test_trap_2_a_commit_of_entries_that_were_taken_over_is_refused(two: Simulation) -> None:
    two.publish(1)
    two.step_to(0, "commit")
    two.lapse(0)
    two.step(1, 200)  # the other takes the entry over and commits its row
    assert two.is_drained()
    two.step(0, 50)
    end(two)


def test_trap_2_a_consumer_that_renews_its_lease_before_the_take_over_is_not_fenced(two: Simulation) -> None:
    two.publish(3)
    two.step_to(0, "commit")
    lease = two.keys.lease("a")
    before = two.wire.client.get(lease)
    two.lapse(0)
    two.step_to(1, "take_over")  # has looked, and found no lease
    two.wire.client.set(lease, before, px=30_000)
    two.step(1, 1)
    assert pending_of(two, 0) == 3
    two.step(0, 2)
    assert two.is_drained()  # its commit was not fenced
    end(two)


def test_trap_11_an_orphan_that_its_owner_sealed_before_it_was_locked_is_left_alone(two: Simulation) -> None:
    two.publish(3)
    two.step(0, 100)
    two.kill(0)
    two.wait(11)
    two.step_to(1, "open d.")
    two.step(1, 1)  # opened, not locked yet
    two.start(0)
    for _ in range(2):
        two.step(0, 300)  # seals what it had left, and lets the record drop it
    assert len(sealed_files(two.paths[0], "delivered")) == 1
    two.step(1, 300)
    end(two)


def test_trap_12_a_second_process_of_the_name_in_the_directory_ends_before_it_registers(simulate: Simulate) -> None:
    twins = simulate("twins")  # the second one has ended already
    assert list(twins.processes) == [0]
    twins.publish(3)
    twins.step_to(0, "commit")
    owner = twins.wire.client.hget(twins.keys.owners, "a")
    twins.start(1)
    twins.step(1, 300)
    assert 1 not in twins.processes
    assert twins.wire.client.hget(twins.keys.owners, "a") == owner
    twins.step(0, 10)
    twins.kill(0)
    end(twins)


def test_trap_17_a_tail_that_was_cut_by_one_who_died_does_not_come_back_in_a_sealed_file(two: Simulation) -> None:
    two.publish(3)
    two.step(0, 100)
    two.publish(3)
    two.step_to(0, "commit")  # rows appended, and durable
    two.kill(0)
    two.wait(11)
    two.step_to(1, "seize")
    two.step_to(1, "ftruncate")
    two.step(1, 1)
    two.kill(1)  # the cut is in the page cache alone
    two.start(1)
    two.step_to(1, "seize")
    two.step_to(1, "fchmod")  # the file was as long as its record: sealed without a cut, the manifest is durable
    two.power_loss(0, Worst())
    end(two)


@pytest.mark.parametrize("request_", ["XREADGROUP", "take_over"])
def test_trap_19_entries_that_a_late_request_brings_are_found_by_the_one_that_goes_on(
    two: Simulation, request_: str
) -> None:
    two.publish(1)
    if request_ == "take_over":
        two.step_to(0, "commit")
        two.kill(0)
        two.lapse(0)
    two.step_to(1, request_)
    two.break_next(1, "late")
    two.step(1, 100)  # lost; it recovers, and finds nothing
    two.wire.deliver(0)
    assert pending_of(two, 1) == 1
    two.step(1, 100)
    assert two.is_drained()
    end(two)


def test_trap_21_own_entries_are_not_read_while_a_batch_is_uncommitted(simulate: Simulate) -> None:
    one = simulate("one", batch_entries=1)
    one.publish(6)
    one.step_to(0, "commit")
    assert pending_of(one, 0) == 6  # what was read ahead is not what is in hand
    one.kill(0)
    one.start(0)
    one.step_to(0, "bounce 0 0 0")
    one.step(0, 1)
    while "commit" not in (operation := one.processes[0].next):
        assert not operation.startswith("XREADGROUP")
        one.step(0, 1)
    end(one)
