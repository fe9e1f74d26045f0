"""Several workers, interleaved operation by operation: each row exactly once, whatever happens between them."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from tests.crash.ending import check, finish
from tests.crash.history import ACTIONS, LAYOUTS, WORLDS, Action, History, run
from tests.crash.simulation import Simulation
from tests.support.files import data_files, sealed_files
from worker.stream.retirement import RETIRED


def _histories(world: str) -> st.SearchStrategy[History]:
    """Return histories of a world; what makes it different happens often."""
    kinds = [*sorted(ACTIONS), *3 * sorted(WORLDS[world])]
    actions = st.one_of(
        st.builds(Action, st.just("step"), st.integers(0, 2), st.integers(1, 80)),
        st.builds(Action, st.sampled_from(kinds), st.integers(0, 4), st.integers(1, 11)),
    )
    return st.builds(
        History,
        layout=st.sampled_from(sorted(LAYOUTS)),
        actions=st.lists(actions, min_size=5, max_size=50).map(tuple),
        batch_entries=st.sampled_from((1, 3)),
        max_size_bytes=st.sampled_from((300, 900)),
        same_pids=st.booleans(),
        gone=st.booleans(),
    )


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )


@_settings(200)
@given(history=_histories("sound"))
def test_no_history_of_several_workers_loses_or_doubles_a_row(history: History) -> None:
    run(history)


@_settings(100)
@given(history=_histories("forgetful"))
def test_no_history_with_a_server_that_forgets_loses_an_acknowledged_row_or_doubles_one_of_the_same_worker(
    history: History,
) -> None:
    run(history)


@_settings(150)
@given(history=_histories("troubled"))
def test_no_history_with_a_disk_that_answers_with_errors_loses_or_doubles_a_row(history: History) -> None:
    run(history)


@_settings(60)
@given(history=_histories("carried"))
def test_no_history_of_directories_that_are_copied_moved_and_restored_loses_a_row_untold(history: History) -> None:
    run(history)


@_settings(60)
@given(history=_histories("configured"))
def test_no_history_with_settings_that_change_between_starts_loses_or_doubles_a_row(history: History) -> None:
    run(history)


@_settings(60)
@given(history=_histories("touched"))
def test_no_history_with_files_that_somebody_changes_loses_a_row_untold(history: History) -> None:
    run(history)


@_settings(60)
@given(history=_histories("claimed"))
def test_no_history_with_claimed_entries_and_clocks_that_jump_loses_or_doubles_a_row(history: History) -> None:
    run(history)


@_settings(60)
@given(history=_histories("wild"))
def test_no_history_of_a_server_that_forgets_with_all_other_troubles_loses_an_acknowledged_row(
    history: History,
) -> None:
    run(history)


@_settings(60)
@given(history=_histories("handled"))
def test_no_history_of_all_that_people_do_loses_a_row_untold(history: History) -> None:
    run(history)


def _lose_next_commit(simulation: Simulation, number: int) -> None:
    """Let a worker's next commit vanish on its way, so that the worker recovers with a pending entry."""
    simulation.step_to(number, "commit")
    simulation.break_next(number, "late")
    simulation.step(number, 1)
    simulation.wire.late.clear()


def test_a_recovery_does_not_take_back_what_another_took_over_meanwhile(two: Simulation) -> None:
    two.publish(1)
    _lose_next_commit(two, 0)
    two.step_to(0, "forgive")  # registered again; it has seen its pending entry
    two.lapse(0)  # and stalls
    two.step_to(1, "commit")  # the other has taken the entry over and appended its row
    two.step(0, 30)  # fenced; it recovers
    finish(two)
    check(two)


def test_a_claim_that_arrives_late_takes_nothing_from_who_took_it_over(two: Simulation) -> None:
    two.publish(1)
    _lose_next_commit(two, 0)
    two.step_to(0, "forgive")
    two.break_next(0, "late")
    two.step(0, 1)
    two.lapse(0)
    two.step_to(1, "commit")
    two.wire.deliver(0)
    two.step(0, 30)
    finish(two)
    check(two)


def _names(simulation: Simulation) -> list[str]:
    return [file.name for event_type in TYPES for file in data_files(simulation.paths[0], event_type)]


def test_trap_10_a_file_that_has_just_got_its_name_is_not_taken_for_an_orphan(two: Simulation) -> None:
    two.publish(9)
    two.step_to(0, "link .a.new ")  # rotated: the file is made
    two.step(0, 1)
    names = _names(two)
    two.lapse(1)
    two.step(1, 300)  # looks around
    assert _names(two) == names
    two.step(0, 100)
    finish(two)
    check(two)


def test_trap_11_a_file_that_was_sealed_between_its_opening_and_its_lock_is_not_taken_up_again(two: Simulation) -> None:
    two.publish(1)
    two.step(0, 100)
    two.kill(0)
    two.start(0)
    two.step_to(0, "open d.")
    two.step(0, 1)
    assert two.processes[0].next == "flock"
    two.lapse(1)
    two.step(1, 300)  # looks around
    assert sealed_files(two.paths[0], "delivered")
    two.step(0, 300)
    finish(two)
    check(two)


def test_an_entry_read_alone_is_not_taken_back_from_who_took_it_over(two: Simulation) -> None:
    two.publish(1)
    two.step_to(0, "commit")
    for death in range(3):  # of which the entry is suspected
        two.kill(0)
        two.lapse(0)
        two.start(0)
        two.step_to(0, "commit a")
        two.step(0, 2)  # new files
        two.step_to(0, "read_alone" if death == 2 else "commit")
    two.step(1, 100)  # has no lease yet, so its neighbour's starts have fenced it; it recovers
    two.lapse(0)
    two.step_to(1, "commit")
    two.step(0, 30)  # fenced; it recovers
    finish(two)
    check(two)


def test_a_worker_that_is_retired_while_it_starts_goes_on_where_it_was(two: Simulation) -> None:
    two.publish(3)
    two.step(0, 200)
    two.stop(0)
    two.step(0, 200)
    assert 0 not in two.processes
    two.start(0)
    two.step_to(0, "register")
    two.step(0, 1)
    assert two.retire(0) == RETIRED
    two.publish(3)
    two.step(0, 200)
    finish(two)
    check(two)
    assert two.alarms == []
