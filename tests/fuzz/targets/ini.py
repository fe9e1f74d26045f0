"""The ini: any bytes are settings, or problems each of which is one bounded line that names a place in the file."""

from config.loader import check as check_config
from config.places import Purpose
from tests.fuzz.scratch import scratch

_LONGEST = 2500  # characters of a problem


def check(data: bytes) -> None:
    """Check a file of these bytes, and its directories."""
    file = scratch() / "accounting_files.ini"
    file.write_bytes(data)
    report = check_config(file, purpose=Purpose.WORK, environ={})
    assert (report.settings is None) == bool(report.problems)
    most = 10 + data.count(b"\n") + data.count(b"\r")
    assert len(report.problems) <= 3 * most
    for problem in (*report.problems, *report.warnings):
        line = str(problem)
        assert line.startswith(str(file)) or problem.line is None
        assert len(line) <= _LONGEST
