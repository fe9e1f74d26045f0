"""Worker and janitor die anywhere between seal and finished archive: no file is lost, and none stands twice."""

import pytest

from tests.crash.janitor import WISHES, Wish, operations_of_a_life, run


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_a_death_or_a_power_loss_at_any_operation_loses_and_doubles_no_file(wish: Wish) -> None:
    operations = operations_of_a_life(wish)
    assert operations > 100
    for number in range(1, operations + 1):
        run(wish, [number], seed=number // 2, power_loss=bool(number % 2))


def test_the_machine_finds_a_compressed_form_that_no_manifest_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.janitor.durable.replace", lambda *_: None)
    with pytest.raises((AssertionError, FileNotFoundError)):
        run(WISHES["left in place, gzip"], [], seed=1, power_loss=False)
