"""The journal: what a process knew of its commits is still told after its death, whatever the last bytes look like."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker import journal
from worker.errors import DiskTrouble
from worker.journal import Journal
from worker.records import FileState, Record

DIRECTORY, CONSUMER = "5f3a9c0d", "worker-1"
Make = Callable[[], Journal]


def record(batch: int) -> Record:
    state = FileState(name="d.tsv", inode=1, length=batch * 10, opened_ms=0)
    return Record(batch=batch, files={"delivered": state}, total={"delivered": batch})


def read(path: Path) -> journal.Told:
    return journal.read(path, CONSUMER, DIRECTORY)


def keys(told: journal.Told) -> list[str]:
    return [each.keys["delivered"] for each in told.window]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def make() -> Journal:
        made.append(Journal(tmp_path, CONSUMER, DIRECTORY, lambda: 0.0))
        return made[-1]

    yield make
    for each in made:
        each.close()


def commit(book: Journal, batch: int, text: str, *, at_ms: int = 1_000, is_answered: bool = True) -> None:
    book.intend(batch, at_ms, {"delivered": text})
    if is_answered:
        book.acknowledge(record(batch))


def test_a_directory_without_a_journal_tells_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == journal.Told()
    assert journal.consumers(tmp_path) == []


def test_the_last_acknowledged_record_and_the_keys_before_it_are_told(make: Make, tmp_path: Path) -> None:
    book = make()
    book.begin(Record(), [])
    commit(book, 1, "a")
    commit(book, 2, "b c")
    told = read(tmp_path)
    assert (told.record, told.intent, keys(told)) == (record(2), None, ["a", "b c"])
    assert journal.consumers(tmp_path) == [CONSUMER]
    assert journal.directory_ids(tmp_path) == {DIRECTORY}


def test_trap_39_an_intent_proves_nothing_by_itself(make: Make, tmp_path: Path) -> None:
    book = make()
    book.begin(Record(), [])
    commit(book, 1, "a")
    commit(book, 2, "b", is_answered=False)
    told = read(tmp_path)
    assert told.record == record(1)
    assert keys(told.proven_by(record(1))) == keys(told.proven_by(None)) == ["a"]
    assert keys(told.proven_by(record(2))) == ["a", "b"]


def test_trap_42_an_intent_that_an_adopted_record_does_not_prove_is_void(make: Make, tmp_path: Path) -> None:
    book = make()
    book.begin(Record(), [])
    commit(book, 1, "a")
    commit(book, 2, "fenced", is_answered=False)
    book.adopt(record(1))
    commit(book, 2, "other")
    assert keys(read(tmp_path)) == ["a", "other"]


def test_what_is_begun_anew_keeps_what_was_written_lately(make: Make, tmp_path: Path) -> None:
    book = make()
    book.begin(Record(), [])
    commit(book, 1, "old", at_ms=0)
    for minute in range(1, 12):
        commit(book, 1 + minute, "a", at_ms=minute * 60_000)
    book.close()
    told = read(tmp_path)
    assert keys(told) == 11 * ["a"]
    make().begin(record(2), told.window)
    assert (read(tmp_path).record, keys(read(tmp_path))) == (record(2), 11 * ["a"])


@pytest.mark.parametrize("jump_ms", [40 * 86_400_000, 3_600_000, 0, -3_600_000, -10 * 86_400_000])
def test_a_clock_that_was_set_makes_nobody_forget_what_was_written_right_before(
    make: Make, tmp_path: Path, jump_ms: int
) -> None:
    book, now_ms = make(), 1_800_000_000_000
    book.begin(Record(), [])
    commit(book, 1, "before", at_ms=now_ms)
    commit(book, 2, "meanwhile", at_ms=now_ms + jump_ms)
    commit(book, 3, "after", at_ms=now_ms + 1_000)
    assert keys(read(tmp_path)) == ["before", "meanwhile", "after"]


def test_a_journal_that_has_grown_is_turned_over_and_forgets_nothing_of_the_last_minutes(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LIMIT_BYTES", 2_000)
    book = make()
    book.begin(Record(), [])
    for batch in range(1, 12):
        commit(book, batch, f"key{batch}")
    told = read(tmp_path)
    assert told.record == record(11)
    assert keys(told)[-5:] == [f"key{batch}" for batch in range(7, 12)]
    assert sum(path.stat().st_size for path in (tmp_path / "journal").iterdir()) < 3 * 2_000


@pytest.mark.parametrize("at", ["~new", "~old"])
def test_a_death_while_it_is_turned_over_loses_nothing(make: Make, tmp_path: Path, at: str) -> None:
    book = make()
    book.begin(Record(), [])
    commit(book, 1, "a")
    path = tmp_path / "journal" / CONSUMER
    if at == "~new":
        path.with_name(CONSUMER + "~new").write_bytes(b"half a jour")
    else:
        path.rename(path.with_name(CONSUMER + "~old"))
    assert (read(tmp_path).record, keys(read(tmp_path))) == (record(1), ["a"])
    assert journal.consumers(tmp_path) == [CONSUMER]


def test_wherever_it_is_torn_it_tells_a_record_that_was_acknowledged(make: Make, tmp_path: Path) -> None:
    book = make()
    book.begin(record(1), [])
    for batch in range(2, 5):
        commit(book, batch, f"key{batch}")
    path = tmp_path / "journal" / CONSUMER
    content = path.read_bytes()
    before = 0
    for length in range(content.index(b"\n") + 1, len(content) + 1):
        path.write_bytes(content[:length])
        told = read(tmp_path).record
        batch = told.batch if told else 0
        assert batch >= before
        before = batch
    assert before == 4


def test_a_changed_line_is_passed_over_and_those_behind_it_are_not(make: Make, tmp_path: Path) -> None:
    book = make()
    book.begin(record(1), [])
    commit(book, 2, "a")
    commit(book, 3, "b")
    path = tmp_path / "journal" / CONSUMER
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"x"'))
    assert (read(tmp_path).record, keys(read(tmp_path))) == (record(3), ["b"])


def test_the_journal_of_another_directory_tells_nothing(make: Make, tmp_path: Path) -> None:
    make().begin(record(1), [])
    assert journal.read(tmp_path, CONSUMER, "another") == journal.Told()
    (tmp_path / "journal" / CONSUMER).rename(tmp_path / "journal" / "worker-2")
    assert journal.read(tmp_path, "worker-2", DIRECTORY) == journal.Told()


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 4096, b"00000000 {}\n", b"zz\n" * 9, b"[" * 100_000 + b"\n"])
def test_what_no_worker_wrote_tells_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / CONSUMER).write_bytes(content)
    assert read(tmp_path) == journal.Told()


def test_after_trouble_nothing_is_appended_until_it_is_begun_anew(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = make()
    book.begin(record(1), [])

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", fail)
        with pytest.raises(DiskTrouble, match="No space left"):
            book.intend(2, 1, {})
    assert not book.is_open
    with pytest.raises(DiskTrouble, match="not open"):
        book.acknowledge(record(2))
    book.begin(record(1), read(tmp_path).window)
    commit(book, 2, "a")
    assert read(tmp_path).record == record(2)
