"""Following while workers rotate, archive, die and stop, and files are compressed: each row once all the same."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from schemas.events import TYPES
from tests.loop.conftest import Lab
from tests.support.events import recipients_of
from tests.support.files import sealed_files
from tests.support.sealed import compress
from tests.support.workers import PARTITION
from worker.identity import known_id
from worker.inventory import Place, places
from worker.loop import RECOVERABLE, Worker
from worker.reading.criteria import Criteria
from worker.reading.follow import Follower
from worker.reading.search import Search, Span
from worker.records import Record
from worker.stream.commit_records import CommitRecords


class Reader:
    """What `tail -f` does, a poll at a time; `between` happens wherever others can do something meanwhile."""

    def __init__(self, lab: Lab, between: Callable[[], None] = lambda: None) -> None:
        directory = known_id(lab.settings.directory.path)
        assert directory is not None
        self._records = CommitRecords(lab.wire.connect, PARTITION, directory)
        self._between = between
        self.follower = Follower(places(lab.settings.directory), self._read)
        self.search = Search(Criteria(()), Span(), lab.settings.rows)
        self.seen: Counter[str] = Counter()

    def _read(self) -> list[Record]:
        records = self._records.read()
        self._between()
        return records

    def poll(self) -> None:
        grown = self.follower.poll()
        self._between()
        self.seen.update(row.values["rcpt"] for row in self.search.rows(grown))
        assert not self.search.troubles


class Disturbance:
    """A worker that works, rotates, dies and starts, and a janitor that compresses, by chance."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab = lab
        self._random = Random(seed)
        self._worker: Worker | None = None
        self._is_over = False

    def __call__(self) -> None:
        for _ in range(0 if self._is_over else self._random.randrange(4)):
            self._act()

    def _act(self) -> None:
        if self._worker is None:
            self._worker = self._lab.worker()
            return
        match self._random.randrange(12):
            case 0:
                self._lab.die(self._worker)
                self._worker = None
            case 1:
                self._lab.stop(self._worker)
                self._worker = None
            case 2 | 3:
                self._compress()
            case _:
                self._lab.publisher.publish_some(self._random.randrange(6), recipients=self._random.choice((1, 3)))
                step(self._worker)

    def _compress(self) -> None:
        files = [file for name in TYPES for file in sealed_files(self._lab.path, name)]
        if files:
            compress(self._random.choice(files), self._random.choice((".zst", ".gz")))

    def finish(self) -> None:
        """Let a worker write what is left, stop it, and be quiet."""
        worker = self._worker or self._lab.worker()
        for _ in range(20):
            step(worker)
        self._lab.stop(worker)
        self._is_over = True


def step(worker: Worker) -> None:
    """Step as the loop does: it recovers where it was fenced."""
    try:
        worker.step()
    except RECOVERABLE as error:
        worker.recover(error)


def everything(lab: Lab) -> Counter[str]:
    return Counter(recipients_of([event for events in lab.publisher.published.values() for event in events]))


@pytest.mark.parametrize("archiving", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_each_row_is_shown_once_whatever_happens_between_two_looks(lab: Lab, seed: int, *, archiving: bool) -> None:
    lab.configure("rotation", archiving=archiving, max_size_bytes=700)
    disturb = Disturbance(lab, seed)
    disturb()
    while known_id(lab.settings.directory.path) is None:
        disturb()
    reader = Reader(lab, disturb)
    for _ in range(40):
        disturb()
        reader.poll()
    disturb.finish()
    reader.poll()
    assert reader.seen == everything(lab)
    assert sum(reader.seen.values()) > 50


def test_what_is_committed_at_the_beginning_is_not_shown(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    worker = lab.worker()
    worker.step()
    reader = Reader(lab)
    assert sum(found.stored.rows for found in reader.follower.begin()) == 3
    reader.poll()
    assert not reader.seen
    lab.publisher.publish_some(3)
    worker.step()
    reader.poll()
    assert sum(reader.seen.values()) == 3


def test_a_quiet_directory_is_not_listed_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.publisher.publish_some(3)
    lab.worker().step()
    reader = Reader(lab)
    for _ in range(4):
        reader.poll()
    listed: list[Place] = []

    def listing(place: Place) -> set[str]:
        listed.append(place)
        return set()

    monkeypatch.setattr("worker.reading.follow.sealed_names", listing)
    reader.poll()
    assert not listed


def test_uncommitted_rows_are_not_shown(lab: Lab) -> None:
    lab.publisher.publish_some(3)
    lab.worker().step()
    reader = Reader(lab)
    [path] = [file for file in (lab.path / "bounce").iterdir() if file.name.startswith("b.")]
    with path.open("ab") as file:
        file.write(b"b\tuncommitted row\nand a torn one")
    reader.poll()
    assert reader.seen == everything(lab)
