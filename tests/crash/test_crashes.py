"""A worker dies anywhere, with or without the disk losing what was not durable: each row exactly once."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.crash.machine import operations_of_a_life, run
from worker import accounting_file, archive, directory, identity
from worker.accounting_file import AccountingFile
from worker.files import Files


def test_a_death_at_any_single_operation_loses_and_doubles_nothing() -> None:
    operations = operations_of_a_life()
    assert operations > 100
    for number in range(1, operations + 1):
        run([number], seed=number, power_loss=False)


def test_a_power_loss_at_any_single_operation_loses_and_doubles_nothing() -> None:
    for number in range(1, operations_of_a_life() + 1):
        run([number], seed=number, power_loss=True)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    deaths=st.lists(st.integers(1, 400), min_size=2, max_size=5), seed=st.integers(0, 10_000), power_loss=st.booleans()
)
def test_deaths_one_after_the_other_lose_and_double_nothing(deaths: list[int], seed: int, *, power_loss: bool) -> None:
    run(deaths, seed=seed, power_loss=power_loss)


def _nothing(*_: object, **__: object) -> None:
    """Do nothing, where the protocol asks for something."""


def _finds_the_breakage() -> bool:
    """Tell whether a death at some operation shows that a rule is broken."""
    for number in range(1, operations_of_a_life() + 1):
        try:
            run([number], seed=number, power_loss=True)
        except (AssertionError, OSError, UnicodeDecodeError):
            return True
    return False


@pytest.mark.parametrize(
    ("owner", "rule"),
    [
        (AccountingFile, "sync"),  # fsync before the commit
        (AccountingFile, "cut"),  # cut to the committed length
        (accounting_file, "sync_directory"),  # a name is durable before a record has it
    ],
    ids=["no fsync before the commit", "no cut to the record", "no fsync of the directory"],
)
def test_the_machine_finds_a_broken_rule(owner: object, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, rule, _nothing)
    for module in (archive, directory, identity):
        if hasattr(module, rule):
            monkeypatch.setattr(module, rule, _nothing)
    assert _finds_the_breakage()


def test_the_machine_finds_a_commit_before_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    append = Files.append
    late: list[tuple[Path, bytes]] = []

    def too_late(self: Files, batch):  # type: ignore[no-untyped-def]  # noqa: ANN202, ANN001
        """Append the rows of a batch only with the next one."""
        for path, data in late:
            with path.open("ab") as file:
                file.write(data)
        late.clear()
        real = AccountingFile.append
        monkeypatch.setattr(AccountingFile, "append", lambda file, data: late.append((file.path, data)))
        states = append(self, batch)
        monkeypatch.setattr(AccountingFile, "append", real)
        return states

    monkeypatch.setattr(Files, "append", too_late)
    monkeypatch.setattr(AccountingFile, "require_size", _nothing)  # it would notice by itself
    assert _finds_the_breakage()
