"""A commit that is refused again and again leaves one tail in `recovered/`, however often it is tried."""

import pytest

from tests.server.fleet import KEYS, Fleet
from tests.support.audits import audited
from tests.support.workers import settings
from worker.errors import StreamUnavailable


@pytest.mark.parametrize("entries", [(7, 7, 7, 7), (7, 3, 5, 2), (1, 2, 3, 4)])
def test_a_tail_whose_rows_are_there_already_is_not_kept_again(fleet: Fleet, entries: tuple[int, ...]) -> None:
    worker = fleet.worker("worker-1")
    fleet.publisher.publish_some(60)
    fleet.client.hset(KEYS.ledger, "delivered:rows", "x")
    for count in entries:
        worker._reader._size._max_entries = count  # as sizes of batches change
        with pytest.raises(StreamUnavailable, match="delivered:rows"):
            for _ in range(5):
                worker.step()
        assert worker.recover()
    kept = sorted(path.name for path in (fleet.path / "recovered").iterdir())
    assert len(kept) == 2 * 3, kept  # of each type one tail, and its note
    fleet.client.hset(KEYS.ledger, "delivered:rows", 0)
    fleet.work(worker)
    worker.stop()
    worker.run()
    fleet.check()
    assert audited(settings(fleet.path), fleet.url).balanced
