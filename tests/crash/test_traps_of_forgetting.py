"""Traps of a server that forgot, one by one: what only it knew, and events that come again under other stream ids."""

import json

import pytest

from tests.crash.conftest import Simulate
from tests.crash.simulation import Simulation
from tests.crash.test_traps import end, lose_commit, pending_of
from tests.crash.wire import NOTHING_TO_READ
from tests.support.files import recipients_in
from worker import journal


def forgetful(simulate: Simulate, layout: str) -> Simulation:
    """Have workers that are idle, on a server that has just been saved."""
    simulation = simulate(layout, forgetful=True)
    simulation.save()
    return simulation


def work(simulation: Simulation, *numbers: int, steps: int = 200) -> None:
    """Let workers go on until they find nothing to read, each for some operations at a time: they may have to wait."""
    idle = set[int]()
    for _ in range(60):
        for number in numbers:
            simulation.step(number, steps)
        idle = {each for each in numbers if not _is_busy(simulation, each)}
        if idle == set(numbers):
            return
    raise AssertionError(f"only {idle} come to an end")


def _is_busy(simulation: Simulation, number: int) -> bool:
    process = simulation.processes.get(number)
    return process is not None and process.next != NOTHING_TO_READ


def rows(simulation: Simulation) -> int:
    """Return how many rows stand in accounting files."""
    return sum(sum(recipients_in(path).values()) for path in simulation.paths)


def committed_unheard(simulation: Simulation, number: int) -> None:
    """Let a worker's next commit run, and the worker die before it hears of it."""
    simulation.step_to(number, "commit")
    simulation.step(number, 1)
    assert pending_of(simulation, number) == 0
    simulation.kill(number)


def is_late(simulation: Simulation) -> bool:
    """Tell whether the gate was opened before all had arrived."""
    return any(field.startswith(b"late:") for field in simulation.wire.client.hgetall(simulation.keys.watch))


def written_keys(simulation: Simulation) -> set[bytes]:
    """Return by what all events so far are known."""
    return {
        f"{name} {str(event['eventId']).rpartition(':')[0]}".encode()
        for name, events in simulation.publisher.published.items()
        for event in events
    }


def send_ring_again(simulation: Simulation) -> None:
    """Let the server forget the numbers of producers: with the next batch, the plugin sends all again."""
    simulation.wire.client.delete(simulation.keys.producers)
    simulation.publish(1)


def test_trap_37_a_start_on_a_server_that_forgot_cuts_no_row_that_the_journal_knows(simulate: Simulate) -> None:
    one = forgetful(simulate, "one")
    one.publish(3)
    work(one, 0)
    one.kill(0)
    one.forget(again=False)
    one.start(0)
    work(one, 0)
    assert rows(one) == 3
    assert not list(one.paths[0].glob("recovered/*"))
    end(one)


def test_trap_38_a_scan_cuts_no_row_of_a_dead_worker_that_its_journal_knows(simulate: Simulate) -> None:
    two = forgetful(simulate, "two")
    two.publish(3)
    work(two, 0)
    two.kill(0)
    two.forget(again=False)
    two.lapse(0)
    work(two, 1)
    assert rows(two) == 3
    assert not list(two.paths[0].glob("recovered/*"))
    end(two)


def test_trap_38_a_scan_leaves_the_file_of_a_worker_that_is_about_to_put_its_record_back(simulate: Simulate) -> None:
    two = simulate("two", forgetful=True)
    two.publish(3)
    two.step_to(0, "commit")  # rows appended
    two.kill(0)
    two.forget(everything=True, restarts=False, again=True)
    two.start(0)
    two.step_to(0, "register")
    two.lapse(1)
    work(two, 1)  # registers again
    two.lapse(1)
    work(two, 1)  # looks around
    work(two, 0, 1)
    assert rows(two) == 4
    assert not list(two.paths[0].glob("lost/*"))
    end(two)


def test_trap_38_a_scan_puts_back_the_record_of_a_worker_that_died_since_the_server_forgot(simulate: Simulate) -> None:
    two = forgetful(simulate, "two")
    two.publish(3)
    work(two, 0)
    two.forget(everything=True, again=True)
    work(two, 1)  # registers again while the other one lives, and has heard of nothing
    two.kill(0)
    two.lapse(0)
    work(two, 1)  # looks around
    assert rows(two) == 4
    assert not list(two.paths[0].glob("lost/*"))
    end(two)


def test_trap_39_a_journal_says_that_a_commit_ran_only_once_the_server_has_said_so(simulate: Simulate) -> None:
    two = simulate("two")
    two.publish(1)
    two.step_to(0, "commit")
    before = journal.read(two.paths[0], "a", two.workers[0]._directory.id)
    assert before.intent
    assert before.record
    assert before.intent.commit == before.record.batch + 1
    two.kill(0)
    two.lapse(0)
    work(two, 1)  # takes the entry over, and writes its row
    assert two.is_drained()
    end(two)


def test_trap_40_a_commit_that_ran_before_a_death_is_remembered_where_its_events_come_again(simulate: Simulate) -> None:
    one = forgetful(simulate, "one")
    one.publish(3)
    committed_unheard(one, 0)
    one.start(0)
    work(one, 0)  # the record says that it ran
    one.forget(again=True)
    work(one, 0)
    assert one.is_drained()
    assert rows(one) == 4
    end(one)


def test_trap_41_a_record_that_a_start_adopts_stands_in_the_journal_before_anything_is_done_with_it(
    simulate: Simulate,
) -> None:
    one = forgetful(simulate, "one")
    one.publish(3)
    committed_unheard(one, 0)
    one.start(0)
    one.step_to(0, "commit")  # it has adopted what the server had
    one.kill(0)
    one.forget(again=True)
    one.start(0)
    work(one, 0)
    assert one.is_drained()
    assert rows(one) == 4
    end(one)


def test_trap_42_an_intent_that_was_refused_is_not_proven_by_the_next_commit_of_its_number(simulate: Simulate) -> None:
    two = forgetful(simulate, "two")
    two.publish(1)
    two.step_to(0, "commit")  # number n, with a row
    two.lapse(0)
    two.step_to(1, "commit")  # the other one has taken the entry over, and not committed yet
    two.step_to(0, "register")  # refused
    two.stop(0)
    two.step_to(0, '"reason":"stop"')
    two.step(0, 1)  # number n, without a row
    two.kill(0)
    two.kill(1)
    two.start(0)
    two.step_to(0, "commit")
    told = journal.read(two.paths[0], "a", two.workers[0]._directory.id)
    assert [keys for each in told.window for keys in each.keys.values()] == []
    two.forget(again=True)
    end(two)


def test_trap_43_events_that_come_again_under_other_ids_yield_no_second_row(simulate: Simulate) -> None:
    one = forgetful(simulate, "one")
    one.publish(3)
    work(one, 0)
    one.forget(again=True)
    work(one, 0)
    assert one.is_drained()
    assert rows(one) == 4
    end(one)


@pytest.mark.parametrize("restarts", [True, False])
def test_trap_44_nobody_reads_what_comes_again_before_its_writer_has_said_what_it_wrote(
    simulate: Simulate, *, restarts: bool
) -> None:
    apart = forgetful(simulate, "apart")
    apart.publish(3)
    work(apart, 0)
    apart.forget(again=True, restarts=restarts)
    for _ in range(20):
        apart.step(1, 400)
    assert rows(apart) == 3
    work(apart, 0, 1)
    assert apart.is_drained()
    assert rows(apart) == 4
    assert not is_late(apart)
    end(apart)


def test_trap_45_of_two_entries_of_one_event_in_two_hands_one_has_its_rows(simulate: Simulate) -> None:
    apart = simulate("apart")
    apart.publish(3)
    work(apart, 0)
    send_ring_again(apart)
    work(apart, 0, 1)  # and from here on they compare what comes
    assert rows(apart) == 4
    apart.publish(1)
    apart.step_to(0, "commit")  # in hand
    send_ring_again(apart)
    apart.step_to(1, "commit")
    work(apart, 0, 1)
    assert apart.is_drained()
    assert rows(apart) == 6


@pytest.mark.parametrize("writer", [0, 1])
def test_trap_46_numbers_of_producers_that_were_deleted_yield_no_second_row(simulate: Simulate, writer: int) -> None:
    apart = simulate("apart")
    apart.publish(3)
    work(apart, writer)
    apart.publish(3)
    work(apart, 1 - writer)
    send_ring_again(apart)
    work(apart, 0, 1)
    assert apart.is_drained()
    assert rows(apart) == 7
    assert not is_late(apart)


def test_trap_47_a_worker_with_nothing_to_do_hears_of_another_history_and_arrives_in_it(simulate: Simulate) -> None:
    apart = simulate("apart")
    apart.publish(3)
    work(apart, 0)
    keys = written_keys(apart)
    send_ring_again(apart)
    for stream in apart.keys.streams.values():
        apart.wire.client.xgroup_setid(stream, "accounting", "$")  # nothing that it could read
    history = apart.wire.client.hget(apart.keys.history, "id").decode()
    for _ in range(10):
        apart.step(0, 200)
    arrived = [field.decode() for field in apart.wire.client.hkeys(apart.keys.history)]
    assert any(field.startswith(f"arrived:{history} a ") for field in arrived)
    assert keys <= set(apart.wire.client.hkeys(apart.keys.written))


def test_trap_48_a_batch_that_is_sent_again_without_a_gap_yields_no_second_row(simulate: Simulate) -> None:
    one = simulate("one", forgetful=True)
    one.publish(3)
    work(one, 0)
    one.save()
    one.publish(3)  # one batch: the next number after what the server has
    work(one, 0)
    one.forget(again=True, unanswered=True)
    work(one, 0)
    assert one.is_drained()
    assert rows(one) == 6
    end(one)


def test_trap_58_what_was_acknowledged_unheard_and_forgotten_is_kept_and_said_to_be_in_doubt(
    simulate: Simulate,
) -> None:
    one = forgetful(simulate, "one")
    one.publish(3)
    work(one, 0)
    one.publish(3)
    committed_unheard(one, 0)
    one.forget(again=False)
    one.start(0)
    work(one, 0)
    assert rows(one) == 3
    notes = [json.loads(note.read_text()) for note in one.paths[0].glob("recovered/*.json")]
    assert len(notes) == 3
    assert all(note["in_doubt"] for note in notes)
    end(one)


def test_trap_59_a_worker_whose_name_was_taken_hands_in_what_it_wrote_before_it_ends(simulate: Simulate) -> None:
    moved = simulate("moved", starts=(0,), forgetful=True)
    moved.save()
    moved.publish(3)
    work(moved, 0)
    moved.forget(again=True)
    moved.lapse(0)
    moved.start(1)
    moved.step_to(1, "sleep")  # it has the name, and stands at the gate
    work(moved, 0)
    assert 0 not in moved.processes
    for _ in range(3):
        work(moved, 1)
    assert moved.is_drained()
    assert rows(moved) == 4


def test_a_server_that_was_emptied_under_a_worker_gets_everything_back(simulate: Simulate) -> None:
    one = forgetful(simulate, "one")
    one.publish(3)
    work(one, 0)
    one.forget(again=True, everything=True)
    work(one, 0)
    assert rows(one) == 4
    end(one)


def test_rows_that_two_workers_of_a_directory_wrote_of_one_event_are_noted(simulate: Simulate) -> None:
    two = simulate("two", forgetful=True)
    two.publish(3)
    two.save()
    work(two, 0)
    two.forget(again=False, restarts=False)  # and nobody is told
    work(two, 1)
    assert rows(two) == 6
    two.publish(3)
    work(two, 0, 1)
    [note] = [json.loads(note.read_text()) for note in two.paths[0].glob("lost/twice*.json")]
    assert note["count"] == 3
    end(two)


def test_a_lost_reply_and_a_server_that_forgot_the_commit_lose_nothing(simulate: Simulate) -> None:
    one = forgetful(simulate, "one")
    one.publish(3)
    lose_commit(one, 0, "reply lost")
    one.forget(again=True)
    work(one, 0)
    assert rows(one) == 4
    end(one)
