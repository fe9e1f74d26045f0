"""What a stop does while something goes wrong: it seals where the server can be reached, and never takes long."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.loop.conftest import Lab
from tests.loop.test_rows_reach_files import expected
from tests.support.files import check_manifest, data_files, recipients_in, sealed_files
from tests.support.workers import drain, settings
from worker.loop import Worker
from worker.patience import STOP_SECONDS
from worker.stream.script import Script

COMMIT, LEASE = Script("commit").sha, Script("lease").sha
IDLE = "BLOCK"  # a read that waits: nothing is in hand


def run_until(lab: Lab, worker: Worker, word: str, do: Callable[[], None]) -> None:
    """Let a worker run; ask it to stop at its first request with this word, and do something then."""

    def stop() -> None:
        worker.stop()
        do()

    lab.wire.before[word].append(stop)
    worker.run()
    lab._workers.remove(worker)


def contents(lab: Lab) -> dict[Path, bytes]:
    return {file: file.read_bytes() for event_type in lab.keys.streams for file in data_files(lab.path, event_type)}


def assert_all_sealed(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Every file with rows is sealed for the stop, every row stands once, and the lease is gone."""
    assert "worker.stopped_early" not in caplog.text
    assert recipients_in(lab.path) == expected(lab)
    for event_type in lab.keys.streams:
        files = data_files(lab.path, event_type)
        assert files == sealed_files(lab.path, event_type)
        assert [check_manifest(file).reason for file in files] == ["stop"]
    assert not lab.client.exists(lab.keys.lease("worker-1"))


def test_a_stop_of_a_worker_that_was_fenced_meanwhile_seals_its_files(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    worker = lab.worker()
    other = lab.worker(settings(lab.path.parent / "other", name="worker-2"))
    lab.publisher.publish_some(9)
    drain(worker, 9)
    own = expected(lab)

    def stall_and_be_taken_over() -> None:
        lab.publisher.publish_some(3)
        streams = dict.fromkeys(lab.keys.streams.values(), ">")
        lab.client.xreadgroup("accounting", "worker-1", streams)  # a read that ran late
        lab.client.delete(lab.keys.lease("worker-1"))
        lab.clock.now += 60
        drain(other, 3)

    run_until(lab, worker, IDLE, stall_and_be_taken_over)
    assert "kind=Fenced" in caplog.text
    assert recipients_in(other._directory.path) == expected(lab) - own
    lab.publisher.published = {name: events[:3] for name, events in lab.publisher.published.items()}
    assert_all_sealed(lab, caplog)


@pytest.mark.parametrize("reply_only", [False, True])
@pytest.mark.parametrize(("word", "before"), [(COMMIT, 0), (COMMIT, 1), (LEASE, 0)])
def test_a_stop_whose_connection_drops_while_it_closes_seals_its_files(
    lab: Lab, caplog: pytest.LogCaptureFixture, word: str, before: int, *, reply_only: bool
) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(9)
    drain(worker, 9)

    def drop() -> None:
        if not reply_only:
            raise redis.ConnectionError("reset")
        lab.wire.lose_reply_of = word

    def drop_soon() -> None:
        lab.wire.before[word] += [lambda: None] * before + [drop]

    run_until(lab, worker, IDLE, drop_soon)
    assert "worker.recovering" in caplog.text
    assert_all_sealed(lab, caplog)


def test_a_stop_waits_a_little_for_a_server_that_restarts(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(9)
    drain(worker, 9)
    gone_at = lab.clock.now

    def come_back(seconds: float) -> None:
        lab.clock.sleep(seconds)
        lab.server.connected = lab.clock.now > gone_at + STOP_SECONDS / 2

    worker._patience.pauses = worker._patience.pauses._replace(sleep=come_back)
    run_until(lab, worker, IDLE, lambda: setattr(lab.server, "connected", False))
    assert_all_sealed(lab, caplog)


@pytest.mark.parametrize("commit_runs", [False, True])
def test_a_stop_while_the_server_is_away_ends_soon_and_cuts_nothing(
    lab: Lab, caplog: pytest.LogCaptureFixture, *, commit_runs: bool
) -> None:
    worker = lab.worker()
    lab.publisher.publish_some(9)
    before = lab.clock.now
    files: dict[Path, bytes] = {}

    def go_away() -> None:
        lab.server.connected = False
        files.update(contents(lab))

    def lose_the_reply() -> None:
        lab.wire.lose_reply_of = COMMIT
        lab.wire.before["SCRIPT"].append(go_away)  # the first request of a new connection

    run_until(lab, worker, COMMIT, lose_the_reply if commit_runs else go_away)
    assert "worker.stopped_early" in caplog.text
    assert lab.clock.now - before < STOP_SECONDS + 1
    assert contents(lab) == files
    assert sum(recipients_in(lab.path).values()) == 9  # they were appended
    lab.server.connected = True
    drain(lab.worker(), 0 if commit_runs else 9)
    assert recipients_in(lab.path) == expected(lab)


def test_a_stop_while_another_directory_holds_the_name_does_not_wait(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.worker()
    lab.publisher.publish_some(3)
    second = lab.worker_to_start(settings(lab.path.parent / "elsewhere"))
    second.stop()
    second.run()
    assert "worker.stopped_early" in caplog.text
    assert len(lab.clock.slept) <= 1
