"""Log lines: one event is one line of key=value, whatever the values hold."""

import ast
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.events import hostile_texts
from worker import log

KEY_VALUE = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^" =\\]+)')


class Lines(logging.Handler):
    """Keeps the lines that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(name="logger", scope="module")
def _logger() -> Iterator[tuple[logging.Logger, list[str]]]:
    handler = Lines()
    logger = logging.Logger("test", logging.INFO)  # noqa: LOG001
    logger.addHandler(handler)
    yield logger, handler.lines
    handler.close()


def parsed(line: str) -> dict[str, str]:
    """Read a line back: its keys, and its values as they were given."""
    name, _, facts = line.partition(" ")
    assert name == "file.sealed"
    assert KEY_VALUE.sub("", facts).strip(" ") == ""
    return {key: ast.literal_eval(text) if text[0] == '"' else text for key, text in KEY_VALUE.findall(facts)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (7, "7"),
        (None, "None"),
        (1.23456, "1.235"),
        ("", '""'),
        ("a b", '"a b"'),
        ('a"b', r'"a\"b"'),
        ("a=b", '"a=b"'),
        ("a\\b", r'"a\\b"'),
        ("a\nb", r'"a\nb"'),
        ("a\r\nb", r'"a\r\nb"'),
        ("a\\nb", r'"a\\nb"'),
        ("\x1b[2J", r'"\x1b[2J"'),
        ("\u2028", r'"\u2028"'),
        ("é", "é"),
    ],
)
def test_value_is_quoted_only_where_it_could_be_read_wrong(
    logger: tuple[logging.Logger, list[str]], value: object, text: str
) -> None:
    log.event(logger[0], "file.sealed", value=value)
    assert logger[1][-1] == f"file.sealed value={text}"


@settings(derandomize=True, database=None, deadline=None)
@given(first=hostile_texts | st.text(), second=hostile_texts | st.text())
def test_hostile_values_stay_in_one_line_and_read_back(
    logger: tuple[logging.Logger, list[str]], first: str, second: str
) -> None:
    log.event(logger[0], "file.sealed", first=first, second=second)
    line = logger[1][-1]
    assert line.isprintable()
    assert parsed(line) == {"first": first, "second": second}


def test_facts_stand_in_the_order_in_which_they_were_given(logger: tuple[logging.Logger, list[str]]) -> None:
    log.event(logger[0], "file.sealed", type="b", rows=1200, reason="size")
    assert logger[1][-1] == "file.sealed type=b rows=1200 reason=size"


def test_event_below_the_level_is_not_logged(logger: tuple[logging.Logger, list[str]]) -> None:
    before = len(logger[1])
    log.event(logger[0], "file.sealed", logging.DEBUG)
    assert len(logger[1]) == before


@pytest.mark.parametrize(("verbose", "levels"), [(False, ["INFO"]), (True, ["INFO", "DEBUG"])])
def test_process_logs_to_standard_error_with_utc_times_and_no_debug_unless_asked(
    verbose: bool,  # noqa: FBT001
    levels: list[str],
) -> None:
    program = (
        "import logging; from worker import log\n"
        f"log.set_up(verbose={verbose})\n"
        "logger = logging.getLogger('worker')\n"
        "log.event(logger, 'worker.ready'); log.event(logger, 'entry.read', logging.DEBUG)\n"
        "logging.getLogger('apscheduler').info('chatter')\n"
    )
    environment = {"TZ": "Pacific/Kiritimati"}
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment, text=True)
    assert done.stdout == ""
    lines = [re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{3}Z ([A-Z]+) [a-z.]+", line)
             for line in done.stderr.splitlines()]  # fmt: skip
    assert [line and line[2] for line in lines] == levels
    assert all(line and is_now_in_utc(line[1]) for line in lines)


def is_now_in_utc(text: str) -> bool:
    """Tell whether a time is that of a process which just ran, to half an hour."""
    logged = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return abs(datetime.now(UTC) - logged) < timedelta(minutes=30)
