"""Events that arrive while something fails: afterwards the streams hold exactly what the sink answered.

A few scenarios run by default, all with OUTAGE=all. Several at once, since an outage mostly waits.
"""

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.outage import outages
from tests.outage.run import Run, carry_out
from tests.outage.scenarios import SEED, chosen

pytestmark = [pytest.mark.haraka, pytest.mark.timeout(1800)]

CHOSEN = chosen()
AT_ONCE = 6
#: With the default max_hold_ms a hook is let go after 500 ms, a batch spooled after 200 ms at most.
SWIFT_MS = 100.0


@pytest.fixture(scope="session")
def futures(npm_packages: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Run]]]:
    sys.stdout.write(f"OUTAGE_SEED={SEED}\n")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(carry_out, tmp_path_factory.mktemp("outage"), scenario)
            for name, scenario in CHOSEN.items()
        }


@pytest.fixture(params=CHOSEN)
def run(request: pytest.FixtureRequest, futures: Mapping[str, Future[Run]]) -> Run:
    name: str = request.param
    return futures[name].result()


def test_what_the_sink_answered_stands_in_the_streams_exactly_once(run: Run) -> None:
    settled = {said: count for said, count in run.sink.items() if not run.is_repeated(said)}
    assert {said: count for said, count in run.streams.items() if not run.is_repeated(said)} == settled
    assert len(settled) > outages.MESSAGES


def test_what_a_killed_haraka_delivers_again_stands_in_the_streams_at_least_once(run: Run) -> None:
    for orig, rcpt in run.repeated:
        found = {said: count for said, count in run.streams.items() if (said.orig, said.rcpt) == (orig, rcpt)}
        assert sum(found.values()) >= 1, (orig, rcpt)
        for tag in {said.type for said in found}:
            assert run.of_type(run.streams, orig, rcpt, tag) <= run.of_type(run.sink, orig, rcpt, tag)


def test_every_event_has_the_id_that_haraka_gave_its_message(run: Run) -> None:
    assert all(len(jobs) == 1 for jobs in run.jobs.values())
    of_events = {orig: next(iter(jobs)) for orig, jobs in run.jobs.items()}
    assert of_events.keys() >= run.taken.keys()
    assert {orig: of_events[orig].rpartition(".")[0] for orig in run.taken} == run.taken


def test_every_event_has_an_id_that_no_other_has(run: Run) -> None:
    assert len(run.event_ids) == len(set(run.event_ids))


def test_every_process_of_haraka_took_part(run: Run) -> None:
    processes = max(1, run.scenario.setup.nodes)
    assert len({event_id.partition(":")[0] for event_id in run.event_ids}) >= processes


def test_the_spool_was_used_where_it_had_to_be_and_is_drained_and_nothing_was_dropped(run: Run) -> None:
    assert run.spooled > 0 or not run.scenario.spools
    assert run.left == []
    assert run.dropped == 0


def test_no_hook_was_let_go_before_its_event_was_safe_where_the_machine_permits(run: Run) -> None:
    if run.scenario.may_let_go:
        assert run.let_go > 0
    elif run.slowest_write_ms < SWIFT_MS:
        assert run.let_go == 0


def test_no_hook_ran_into_harakas_timeout(run: Run) -> None:
    assert "timed out on hook" not in run.log
