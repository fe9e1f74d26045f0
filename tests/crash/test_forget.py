"""`forget` dies anywhere, as do worker and janitor before it: each file is the one of before or the new one."""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.disk import Died
from tests.crash.janitor import JanitorMachine, Wish
from tests.janitor.lab import check as check_sealed
from tests.support.events import recipients_of
from worker.erasure.matching import MARK
from worker.forgetting.run import Forgetting, Outcome
from worker.forgetting.target import Target
from worker.identity import known_id
from worker.inventory import lines, sealed, sealed_in
from worker.janitor import forget
from worker.manifest import manifest_path
from worker.settings import Compression

ANN = "deferred1.0@example.com"
WISHES = {
    "moved": Wish(),
    "moved, zstd": Wish(Compression.ZSTD),
    "copied to a mount, gzip": Wish(Compression.GZIP, other_file_system=True),
    "left in place, gzip": Wish(Compression.GZIP, archiving=False),
}
STEP = 11  # operations of a life from one death to the next
LIVES = 15
every_wish = pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)


class ForgettingMachine(JanitorMachine):
    """A worker, a janitor, and somebody who forgets an address."""

    def forget(self, die_at: int | None = None) -> Outcome | None:
        """Take the address out; None where the process died of it."""
        self.kernel.arm(die_at)
        try:
            directory_id = known_id(self.path)
            assert directory_id
            return Forgetting(Target(ANN), self._settings, directory_id, self._connect).remove("a test", print)
        except Died:
            return None
        finally:
            self.kernel.arm(None)
            self.kernel.close_descriptors(None)

    def rows(self) -> Counter[str]:
        """Return the recipients of all rows that count, after comparing each file with its manifest."""
        found: Counter[str] = Counter()
        for place in self.places.values():
            for stored in sealed(place):
                check_sealed(stored)
                found.update(line.decode().split("\t")[3] for line in list(lines(stored))[1:])
        return found

    def check_forgotten(self) -> None:
        """See that each row stands once, that of the address without it, and nothing else holds the address."""
        published = Counter(recipients_of(e for events in self.publisher.published.values() for e in events))
        published[MARK] = published.pop(ANN)
        assert self.rows() == published
        for place in self.places.values():
            standing = [s for at in place.directories for s in sealed_in(at, place.event_type)]
            known = {path for s in standing for path in (s.content_path, manifest_path(s.path))}
            assert self._files(place.event_type) == known, "stands there and belongs to nothing"
        assert not list(self.path.glob("lost/*")), "told as gone"
        for file in self.path.rglob("*"):
            assert not file.is_file() or ANN.encode() not in file.read_bytes(), file


@contextmanager
def machine(wish: Wish) -> Iterator[ForgettingMachine]:
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        yield ForgettingMachine(Path(base), patch, wish)


def states(outcome: Outcome | None) -> list[str]:
    assert outcome
    return [each.state for each in outcome.standing if each.kind == "sealed file"]


@every_wish
def test_a_death_at_any_operation_leaves_the_old_file_or_the_new_one(wish: Wish) -> None:
    chance, number, lived = random.Random(1), 0, None
    while lived is None:
        number += 1
        with machine(wish) as made:
            made.live_and_tidy(None, events=3, janitor_first=False)
            before = made.rows()
            lived = made.forget(number)
            if lived is None and number % 2:
                made.power_loss(chance)
            after = made.rows()
            assert after.total() == before.total()
            assert after[ANN] + after[MARK] == 1
            made.forget()
            made.tidy()
            made.check_forgotten()
    assert number > 15


@every_wish
def test_whatever_worker_and_janitor_were_at_the_address_goes_and_no_row_with_it(wish: Wish) -> None:
    with machine(wish) as made:
        made.live_and_tidy(None, events=3, janitor_first=True)
        operations = made.kernel.lived
    chance = random.Random(2)
    for number in range(1, operations + 1, STEP):
        with machine(wish) as made:
            if not made.live_and_tidy(number, events=3, janitor_first=True) and number % 2:
                made.power_loss(chance)
            if known_id(made.path):
                made.forget()
            assert made.live_and_tidy(None, events=3, janitor_first=True)
            made.forget()
            made.tidy()
            made.check_forgotten()


@every_wish
def test_a_worker_that_finds_what_a_dead_one_sealed_and_a_dead_forgetting_left_loses_nothing(wish: Wish) -> None:
    with machine(wish) as made:
        made.live_and_tidy(None, events=3, janitor_first=True)
        operations = made.kernel.lived
    chance = random.Random(3)
    for _ in range(LIVES):
        with machine(wish) as made:
            made.live_and_tidy(chance.randint(operations // 2, operations), events=3, janitor_first=False)
            made.forget(chance.randint(8, 24))
            assert made.live_and_tidy(None, events=3, janitor_first=False)
            made.forget()
            made.tidy()
            made.check_forgotten()


def test_the_machine_finds_a_form_that_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "_clear", lambda _directory: None)
    with pytest.raises(AssertionError):
        test_a_death_at_any_operation_leaves_the_old_file_or_the_new_one(WISHES["left in place, gzip"])
