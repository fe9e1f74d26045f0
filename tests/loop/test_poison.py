"""What counts against an entry that is suspected of killing its readers: deaths with nothing else in hand, no more."""

import pytest

from tests.loop.conftest import Lab
from tests.loop.test_crashes_and_lost_replies import Killed, fail_once
from tests.loop.test_rows_reach_files import expected
from tests.support.files import recipients_in
from tests.support.workers import drain
from worker.errors import StreamUnavailable
from worker.stream.script import Script


def die_while_committing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = lab.worker()
    fail_once(monkeypatch, worker._stream, "send_commit", Killed())
    with pytest.raises(Killed):
        worker.step()
    lab.die(worker)


def test_entries_struck_by_deaths_and_lost_replies_all_become_rows(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(9)
    for _ in range(3):
        die_while_committing(lab, monkeypatch)
    worker = lab.worker()
    for _ in range(12):
        lab.wire.lose_reply_of = Script("read_alone").sha
        with pytest.raises(StreamUnavailable, match="reply lost"):
            worker.step()
        assert worker.recover(StreamUnavailable("reply lost"))
    lab.die(worker)
    for _ in range(4):
        die_while_committing(lab, monkeypatch)
    drain(lab.worker(), 9)
    assert recipients_in(lab.path) == expected(lab)
    assert lab.ledger("dead") == 0


def test_an_entry_that_eight_readers_died_of_becomes_a_dead_letter(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(1)
    for _ in range(8):
        die_while_committing(lab, monkeypatch)
    lab.worker().step()
    assert lab.ledger("dead") == 1
    assert lab.pending() == 0
