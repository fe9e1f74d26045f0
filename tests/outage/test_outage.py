"""Events that arrive while something fails: afterwards the streams hold exactly what the sink answered.

Two combinations run by default, all twelve with OUTAGE=all. All at once, since an outage mostly waits.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.outage import outages
from tests.outage.run import Run, carry_out

pytestmark = [pytest.mark.haraka, pytest.mark.timeout(600)]

OUTAGES = {
    "the server is stopped for 10 s": outages.server_stopped,
    "the server is killed and restarted": outages.server_killed,
    "replies are swallowed": outages.replies_swallowed,
    "connections are reset in the middle of a batch": outages.connections_reset,
    "the server is full": outages.server_full,
    "Haraka is killed while the server is stopped": outages.haraka_killed,
}
EVERY = {f"{what}, nodes={nodes}": (outage, nodes) for what, outage in OUTAGES.items() for nodes in (0, 2)}
TELLING = ("replies are swallowed, nodes=2", "Haraka is killed while the server is stopped, nodes=0")
CHOSEN = EVERY if os.environ.get("OUTAGE") == "all" else {name: EVERY[name] for name in TELLING}
AT_ONCE = 6


@pytest.fixture(scope="session")
def futures(npm_packages: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Run]]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(carry_out, tmp_path_factory.mktemp("outage"), nodes, outage)
            for name, (outage, nodes) in CHOSEN.items()
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
    assert len({event_id.partition(":")[0] for event_id in run.event_ids}) >= max(1, run.nodes)


def test_the_spool_was_used_and_is_drained_and_nothing_was_dropped(run: Run) -> None:
    assert run.spooled > 0
    assert run.left == []
    assert run.dropped == 0
