"""Commit records: they read back as they were, and what no worker wrote is refused."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from worker.records import Closing, FileState, Record, decode, encode

counts = st.integers(0, 2**63 - 1)
files = st.builds(
    FileState,
    name=st.text(max_size=30),
    inode=st.integers(0, 2**64 - 1),
    length=counts,
    rows=counts,
    opened_ms=counts,
    first_id=st.none() | st.from_regex(r"[0-9]{1,20}-[0-9]{1,20}", fullmatch=True),
    last_id=st.none() | st.from_regex(r"[0-9]{1,20}-[0-9]{1,20}", fullmatch=True),
    first_time_ms=st.none() | counts,
    last_time_ms=st.none() | counts,
)
closings = st.builds(Closing, event_type=st.sampled_from(TYPES), reason=st.text(max_size=10), file=files)
records = st.builds(
    Record, batch=counts, files=st.dictionaries(st.sampled_from(TYPES), files), closing=st.lists(closings, max_size=3)
)
FILE = FileState(name="b.2026-09-28-120000.tsv", inode=7, length=120, rows=2, opened_ms=5, first_id="1-0")


@settings(derandomize=True, database=None, deadline=None)
@given(records)
def test_record_reads_back_as_it_was(record: Record) -> None:
    assert decode(encode(record)) == record


def test_nothing_stored_is_no_record() -> None:
    assert decode(None) is None


def test_first_record_has_no_files_and_batch_0() -> None:
    assert decode(b"{}") == Record() == Record(batch=0, files={}, closing=[])


def test_next_record_counts_one_batch_and_keeps_what_is_not_changed() -> None:
    closing = [Closing(event_type="bounce", reason="size", file=FILE)]
    record = Record(batch=6, files={"bounce": FILE}, closing=closing)
    assert record.next() == Record(batch=7, files={"bounce": FILE}, closing=closing)
    assert record.next(files={}) == Record(batch=7, files={}, closing=closing)
    assert record.next(closing=[]).files == {"bounce": FILE}
    assert record.batch == 6


def test_batch_is_a_plain_number_of_the_stored_json() -> None:
    stored = json.loads(encode(Record(batch=7, files={"bounce": FILE})))  # the commit script compares it
    assert stored["batch"] == 7
    assert stored["files"]["bounce"]["name"] == FILE.name


def test_facts_that_a_later_version_added_are_skipped() -> None:
    stored = json.loads(encode(Record(batch=7, files={"bounce": FILE})))
    stored["later"] = [1]
    stored["files"]["bounce"]["later"] = {"x": None}
    assert decode(json.dumps(stored).encode()) == Record(batch=7, files={"bounce": FILE})


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{",
        b'{"batch":1}x',
        b"\xff",
        b'{"batch":"1"}',
        b'{"batch":1.5}',
        b'{"batch":null}',
        b'{"files":[]}',
        b'{"files":{"bounce":null}}',
        b'{"files":{"bounce":{}}}',
        b'{"files":{"bounce":{"name":"b","inode":7,"opened_ms":1}}}',
        b'{"files":{"bounce":{"name":"b","inode":"7","length":1,"opened_ms":1}}}',
        b'{"closing":{}}',
        b'{"closing":[{"event_type":"bounce","reason":"size"}]}',
        b'{"batch":' + b"9" * 5000 + b"}",
        b'{"files":{"bounce":{"name":"\xff","inode":7,"length":1,"opened_ms":1}}}',
        b'{"later":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
)
def test_what_no_worker_wrote_is_refused(stored: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(stored)
