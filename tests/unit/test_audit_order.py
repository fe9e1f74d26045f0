"""Running numbers that do not rise: copied entries are found, whatever else stands in the stream."""

import pytest

from worker.audit.deep.order import Order
from worker.decode import RawEntry


def entry(number: int, at: object, n: int = 1) -> RawEntry:
    return (b"%d-0" % number, [b"events", b"[]", b"n", b"%d" % n, b"at", str(at).encode()])


BY_HAND: RawEntry = (b"3-0", [b"events", b"[]"])
ODD: RawEntry = (b"3-1", [b"at", b"9", b"n", b"2", b"events", b"[]"])


def test_numbers_that_rise_are_in_order_with_holes_and_with_strangers_between_them() -> None:
    order = Order("bounce")
    order.look([entry(1, 1), entry(2, 4, 3)])
    order.look([BY_HAND, entry(4, 7), ODD, entry(5, "x"), (b"5-1", None), entry(6, 10)])
    assert list(order.findings()) == []


@pytest.mark.parametrize(
    "copied", [[entry(9, 2)], [entry(9, 3)], [BY_HAND, entry(9, 3)], [(b"9-0", [b"at", b"1", b"n", b"1"])]]
)
def test_a_copy_is_found(copied: list[RawEntry]) -> None:
    order = Order("bounce")
    order.look([entry(1, 1), entry(2, 2), entry(3, 3)])
    order.look([*copied, entry(10, 4), entry(11, 5)])
    [finding] = order.findings()
    assert (finding.count, finding.entry) == (1, "9-0")


def test_copies_within_a_page_are_counted() -> None:
    order = Order("bounce")
    order.look([entry(1, 1), entry(2, 2), entry(3, 1), entry(4, 2), entry(5, 3)])
    [finding] = order.findings()
    assert (finding.count, finding.entry) == (2, "3-0")
