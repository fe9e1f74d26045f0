"""The journal: lines that are torn, damaged or of nobody are passed over, whatever they hold."""

import zlib

from tests.fuzz.choices import Choices
from tests.fuzz.scratch import scratch
from worker import journal
from worker.journal import FOLDER

_HEAD = b'{"type":"head","directory":"dir","consumer":"w1"}'


def check(data: bytes) -> None:
    """Read a journal of these lines in every way that there is."""
    choices = Choices(data)
    directory = scratch()
    file = directory / FOLDER / "w1"
    file.parent.mkdir(exist_ok=True)
    is_ours, has_checksums = choices.one((True, False)), choices.one((True, False))
    lines = [*([_HEAD] * is_ours), *choices.rest().split(b"\n")]
    file.write_bytes(b"".join(b"%08x %b\n" % (zlib.crc32(line), line) for line in lines) if has_checksums else data)
    told = journal.read(directory, "w1", "dir")
    last = journal.last_record(directory, "w1", "dir")
    assert told.record is None or told.record == last
    assert not is_ours or not has_checksums or told.record == last
    assert told.proven_by(told.record).intent is None
    assert journal.consumers(directory) == ["w1"]
    assert journal.directory_ids(directory) >= ({"dir"} if is_ours and has_checksums else set())
