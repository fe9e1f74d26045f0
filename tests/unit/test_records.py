"""Commit records: they read back as they were, and what no worker wrote is refused."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from worker.records import LONGEST_BYTES, Closing, FileState, Record, decode, encode
from worker.rotation import Reason

counts = st.integers(0, 2**53)
ids = st.none() | st.from_regex(r"[0-9]{1,20}-[0-9]{1,20}", fullmatch=True)
files = st.builds(
    FileState,
    name=st.from_regex(r"[a-z][A-Za-z0-9._:@=+,~ -]{0,249}", fullmatch=True),
    inode=st.integers(0, 2**64 - 1),
    length=counts,
    rows=counts,
    opened_ms=counts,
    first_id=ids,
    last_id=ids,
    first_time_ms=st.none() | counts,
    last_time_ms=st.none() | counts,
)
closings = st.builds(Closing, event_type=st.sampled_from(TYPES), reason=st.sampled_from(Reason), file=files)
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


def stored(**changed: object) -> bytes:
    """Return a record whose only file has fields of its own."""
    file = {"name": "b.2026-09-28-120000.tsv", "inode": 7, "length": 120, "opened_ms": 5} | changed
    return json.dumps({"batch": 1, "files": {"bounce": file}}).encode()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "../../private/id_rsa",
        ".names",
        "a\0b",
        "a\n",
        "a\nb",
        "é",
        "x" * 251,
        5,
    ],
)
def test_name_that_is_none_of_a_file_is_refused_by_its_field(name: object) -> None:
    with pytest.raises(msgspec.DecodeError, match=r"\$\.files\[\.\.\.\]\.name"):
        decode(stored(name=name))


@pytest.mark.parametrize("field", ["inode", "length", "rows", "opened_ms", "first_time_ms"])
@pytest.mark.parametrize("value", [-1, 0.5, "1", 1e300])
def test_number_that_is_no_count_is_refused_by_its_field(field: str, value: object) -> None:
    with pytest.raises(msgspec.DecodeError, match=field):
        decode(stored(**{field: value}))


@pytest.mark.parametrize("field", ["batch", "committed_ms"])
def test_counter_is_taken_at_its_bound_and_refused_beyond_it(field: str) -> None:
    assert decode(b'{"%b":%d}' % (field.encode(), 2**53))
    with pytest.raises(msgspec.DecodeError, match=field):
        decode(b'{"%b":%d}' % (field.encode(), 2**53 + 1))


@pytest.mark.parametrize(
    ("field", "value"),
    [("first_id", "x"), ("last_id", "1-2-3"), ("sha256", "0"), ("series", "../x"), ("first_id", "1" * 21)],
)
def test_text_of_another_shape_is_refused_by_its_field(field: str, value: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=field):
        decode(stored(**{field: value}))


@pytest.mark.parametrize("part", ["files", "through", "total"])
def test_unknown_type_is_refused(part: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=part):
        decode(b'{"%b":{"../x":0}}' % part.encode())


def test_record_is_taken_at_its_longest_and_refused_beyond_it() -> None:
    at_the_bound = b"{" + b" " * (LONGEST_BYTES - 2) + b"}"
    assert decode(at_the_bound) == Record()
    with pytest.raises(msgspec.DecodeError, match="1000001 bytes"):
        decode(at_the_bound + b" ")
