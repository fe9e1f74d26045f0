"""Batches: parts of many entries, what they add to a file's state, and how many entries to ask for next."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from tests.unit.events import NOON_MS, batches, event, payload, render, row_settings
from tests.unit.events import Batch as Events
from worker.batch import Batch, BatchSize, Part, Renderer, TypeRenderer
from worker.decode import RawEntry
from worker.event_keys import keys_of
from worker.records import FileState

quiet = settings(derandomize=True, database=None, deadline=None)
COLUMNS = ("streamId", "rcpt")


def entry(number: int, *times: int, rcpts: int = 1) -> RawEntry:
    """Return an entry whose events were logged at these times."""
    recipients = [{"rcpt": f"r{number}.{index}"} for index in range(rcpts)]
    return f"{number}-0".encode(), payload(
        *(event("bounce", eventId=f"mx1:{number}:0", timeLogged=time, rcpts=recipients) for time in times)
    )


def part_of(entries: Sequence[RawEntry], columns: Sequence[str] = COLUMNS, event_type: str = "bounce") -> Part:
    return TypeRenderer(event_type, row_settings(columns)).part(entries)


def part(*, size: int = 0, entries: int = 1) -> Part:
    """Return a part of which only the size matters."""
    ids = [b"1-0"] * entries
    return Part(rows=b"", ids=ids, row_count=0, event_count=0, size=size, dead=(), lost=(), first_id=None, last_id=None,
                first_time_ms=None, last_time_ms=None)  # fmt: skip


def test_part_holds_the_rows_and_what_the_commit_acknowledges_and_counts() -> None:
    entries: list[RawEntry] = [
        (b"1-0", None),
        entry(2, 20, 10, rcpts=2),
        (b"3-0", [b"events", b"bad"]),
        entry(4, 15),
        (b"5-0", payload({})),
    ]
    found = part_of(entries)
    assert found.rows == b"2-0\tr2.0\n2-0\tr2.1\n2-0\tr2.0\n2-0\tr2.1\n4-0\tr4.0\n"
    assert found.ids == [b"1-0", b"2-0", b"3-0", b"4-0", b"5-0"]
    assert (found.row_count, found.event_count, found.lost) == (5, 3, [b"1-0"])
    assert [(letter.entry_id, letter.position) for letter in found.dead] == [(b"3-0", -1), (b"5-0", 0)]
    assert (found.first_id, found.last_id) == ("2-0", "4-0")
    assert (found.first_time_ms, found.last_time_ms) == (10, 20)
    assert found.size == sum(len(fields[1]) for _, fields in entries if fields)


@pytest.mark.parametrize("entries", [[], [(b"1-0", None)], [(b"1-0", [b"events", b"bad"])]])
def test_part_without_rows_has_no_ids_and_no_times_of_rows(entries: list[RawEntry]) -> None:
    found = part_of(entries)
    assert (found.rows, found.row_count) == (b"", 0)
    assert found.ids == [entry_id for entry_id, _ in entries]
    assert (found.first_id, found.last_id, found.first_time_ms, found.last_time_ms) == (None, None, None, None)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 512, 513, 1000])
def test_part_of_any_number_of_entries_is_that_of_the_whole(count: int) -> None:
    entries: list[RawEntry] = [entry(number, 10_000 - number) for number in range(count)]
    entries[0] = (b"0-0", None)
    entries[-1] = (f"{count - 1}-0".encode(), [b"events", b"bad"])
    found = part_of(entries)
    rows = max(0, count - 2)
    assert found.rows == b"".join(f"{number}-0\tr{number}.0\n".encode() for number in range(1, count - 1))
    assert found.ids == [entry_id for entry_id, _ in entries]
    assert (found.row_count, found.event_count, len(found.dead)) == (rows, rows, 1)
    assert list(found.lost) == [b"0-0"] * (count > 1)
    assert found.size == sum(len(fields[1]) for _, fields in entries if fields)
    if rows:
        assert (found.first_id, found.last_id) == ("1-0", f"{count - 2}-0")
        assert (found.first_time_ms, found.last_time_ms) == (10_000 - (count - 2), 9999)


def test_slices_without_rows_leave_the_ids_and_times_of_the_others() -> None:
    bad: list[RawEntry] = [(f"{number}-0".encode(), None) for number in range(256)]
    found = part_of([*bad, entry(300, 7), *bad, entry(900, 5), *bad])
    assert (found.first_id, found.last_id) == ("300-0", "900-0")
    assert (found.first_time_ms, found.last_time_ms) == (5, 7)
    assert (found.row_count, found.lost) == (2, [entry_id for entry_id, _ in bad * 3])


@settings(quiet, max_examples=5)
@given(st.sampled_from(TYPES), batches(size=800))
def test_part_of_more_than_256_entries_has_the_rows_of_each(event_type: str, events: Events) -> None:
    entries = events.entries(event_type)
    assert len(entries) > 256
    columns = ("rcpt", "dsnMsg", "vmta", "streamId")
    assert part_of(entries, columns, event_type).rows == render(event_type, row_settings(columns), entries)


STATE = FileState(name="b", inode=1, length=100, rows=2, opened_ms=1, first_id="1-0", last_id="2-0", first_time_ms=50,
                  last_time_ms=60)  # fmt: skip


@pytest.mark.parametrize(
    ("times", "first", "last"), [((55,), 50, 60), ((40,), 40, 60), ((70,), 50, 70), ((70, 40), 40, 70)]
)
def test_rows_that_were_appended_advance_the_state_of_the_file(times: tuple[int, ...], first: int, last: int) -> None:
    appended = part_of([entry(7, *times), entry(9, *times)])
    advanced = appended.advance(STATE)
    assert advanced == FileState(
        name="b", inode=1, length=100 + len(appended.rows), rows=2 + 2 * len(times), opened_ms=1, first_id="1-0",
        last_id="9-0", first_time_ms=first, last_time_ms=last,
    )  # fmt: skip


def test_what_was_taken_over_from_the_dead_widens_the_range_of_ids_at_its_beginning() -> None:
    state = part_of([entry(12, 60), entry(20, 60)]).advance(STATE)
    advanced = part_of([entry(0, 60)]).advance(state)
    assert (advanced.first_id, advanced.last_id) == ("0-0", "20-0")


def test_first_rows_of_a_file_give_its_first_id_and_times() -> None:
    empty = FileState(name="b", inode=1, length=10, opened_ms=1)
    advanced = part_of([entry(7, NOON_MS), entry(8, 0)]).advance(empty)
    assert (advanced.first_id, advanced.last_id) == ("7-0", "8-0")
    assert (advanced.first_time_ms, advanced.last_time_ms) == (0, NOON_MS)


def test_part_without_rows_leaves_the_state_of_the_file() -> None:
    assert part_of([(b"9-0", None), (b"10-0", [b"events", b"bad"])]).advance(STATE) == STATE


def test_batch_has_a_part_for_each_type_that_was_read() -> None:
    renderer = Renderer(row_settings(("type", "rcpt")))
    entries = {name: [(b"1-0", payload(event(name)))] for name in ("bounce", "delivered")}
    batch = renderer.render(entries, pending=True)
    assert batch is not None
    assert batch.pending
    assert {name: found.rows for name, found in batch.parts.items()} == {
        "bounce": b"b\ta@example.com\n",
        "delivered": b"d\ta@example.com\n",
    }


def test_nothing_read_is_no_batch() -> None:
    assert Renderer(row_settings()).render({}, pending=False) is None


def batch_of(*parts: Part) -> Batch:
    return Batch(dict(zip(TYPES, parts, strict=False)), pending=False)


sizes = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 5000)), min_size=1, max_size=3)


@quiet
@given(st.integers(1, 10_000), st.integers(1, 10**8), st.lists(sizes, max_size=50))
def test_batch_size_stays_within_its_bounds(
    max_entries: int, max_bytes: int, observed: list[list[tuple[int, int]]]
) -> None:
    size = BatchSize(max_entries=max_entries, max_bytes=max_bytes)
    assert 1 <= size.entries <= max_entries
    for parts in observed:
        size.observe(batch_of(*(part(size=bytes_of_json, entries=entries) for bytes_of_json, entries in parts)))
        assert 1 <= size.entries <= max_entries


@quiet
@given(st.integers(1, 10**6), st.integers(1, 1000))
def test_batch_size_shrinks_at_once_when_entries_grow(mean_bytes: int, entries: int) -> None:
    size = BatchSize(max_entries=1000, max_bytes=1_000_000)
    size.observe(batch_of(part(size=mean_bytes * entries, entries=entries)))
    assert size.entries * mean_bytes <= max(1_000_000, mean_bytes)
    assert size.entries == max(1, min(1000, 1_000_000 // mean_bytes))


def test_batch_size_follows_the_largest_type_and_grows_back_slowly() -> None:
    size = BatchSize(max_entries=1000, max_bytes=1_000_000)
    size.observe(batch_of(part(size=100), part(size=100_000)))
    assert 10 <= size.entries <= 11
    size.observe(batch_of(part(size=100)))
    assert size.entries <= 13
    for _ in range(100):
        size.observe(batch_of(part(size=100)))
    assert size.entries == 1000


def test_batches_of_lost_entries_leave_the_size_within_its_bounds() -> None:
    size = BatchSize(max_entries=1000, max_bytes=1_000_000)
    lost = TypeRenderer("bounce", row_settings(["rcpt"])).part([(b"1-0", None)])
    for _ in range(10_000):
        size.observe(Batch({"bounce": lost}, pending=True))
        assert 1 <= size.entries <= 1000


def test_entries_that_have_rows_already_are_acknowledged_and_counted_and_yield_none() -> None:
    renderer = Renderer(row_settings(COLUMNS))
    raw: list[RawEntry] = [entry(number, 10 + number) for number in range(5)]
    raw[1] = (b"1-0", [b"events", b"bad"])
    batch = renderer.render({"bounce": raw}, pending=False, keep=True)
    assert batch is not None
    [first, third] = [keys_of(part_of([raw[number]]).event_ids) for number in (0, 2)]
    found = renderer.without(batch, {"bounce": {*first, *third}}).parts["bounce"]
    assert found.rows == b"3-0\tr3.0\n4-0\tr4.0\n"
    assert (found.row_count, found.event_count, len(found.dead)) == (2, 4, 1)
    assert found.ids == [entry_id for entry_id, _ in raw]
    assert (found.first_id, found.last_id, found.first_time_ms) == ("3-0", "4-0", 13)
