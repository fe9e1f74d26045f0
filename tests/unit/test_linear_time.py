"""Text from outside takes time in proportion to its length, whatever it is: no pattern of ours goes back and forth."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config import columns, ini, loader, naming, redis_url, store_url, values
from worker import cron, log, patience
from worker.addresses import common_text, folded_address, folded_domain
from worker.errors import AccountingError
from worker.formulas import guarded, unguarded
from worker.manifest import BadManifest, decode
from worker.naming import Names, Stamp
from worker.printable import printable
from worker.reading.criteria import Criterion, Rule
from worker.reading.parse import BadLine, delimited, json_line, layout_of, read_header
from worker.replay.ndjson import parse as parse_line
from worker.replay.span import end_of, start_of
from worker.rows import cleaner, is_suspect
from worker.settings import Format, NameSettings
from worker.stream.refusal import _KEY

SIZE = 25_000  # characters, and four times as many
RUNS = 3
RATIO = 8  # of the two times; a quadratic one is 16
NOTHING = 0.3  # seconds of CPU for 100 kB: less than that is no growth that anybody could feel

#: What patterns, splits and parsers stumble over when it is repeated.
PARTS = (
    " ", "\t", "a", "A", "1", "0", ".", ",", ";", "-", "=", "+", "'", '"', '""', '",', '"a', "[", "]", "{", "}", "{a",
    "{}", "\\", "\\\n", "\n", "\r", "\r\n", "a=b\n", "[a]\n", ":", "::", "1:", ":1", "/", "a/", "../", "%", "%41", "@",
    "a@", "xn--", "xn--a.", "é", "e\u0301", "ß", "\u0130", "\u3164", "\x1b", "\x9b", "\u202e", "\ud800", "1-", "-1",
    "2026-", "1m", "*", "*/", "mon-", "custom_", "rcpt,", "{time}", '{"a":', "[[", "null,", '"\\u0041', "a b ",
)  # fmt: skip
ENDS = ("", "x", '"')

_NAMES = Names(
    NameSettings(template="{consumer}.{type}.{time}.{extension}", extension="tsv", timezone=UTC), "bounce", "w"
)
_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_CSV, _TSV = layout_of(Format.CSV, ","), layout_of(Format.TSV, "\t")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


READERS: dict[str, Callable[[str], object]] = {
    "ini": lambda text: list(ini.read(text)),
    "template": naming.template,
    "separator": naming.separator,
    "consumer": naming.consumer,
    "partition": naming.partition,
    "extension": naming.extension,
    "columns": columns.columns,
    "redis url": lambda text: redis_url.redis_url(f"redis://{text}"),
    "redis options": lambda text: redis_url.redis_url(f"redis://h/0?{text}"),
    "store url": lambda text: store_url.store_url(f"s3://bucket/{text}"),
    "number": values.megabytes,
    "zone": values.zone,
    "cron": cron.parse,
    "cron's field": lambda text: cron.parse(f"{text} * * * *"),
    "time": lambda text: start_of(text, UTC, _NOW),
    "end": lambda text: end_of(text, UTC, _NOW),
    "name": _NAMES.parse,
    "stamp": Stamp.parse,
    "csv": lambda text: delimited(_CSV, ["a", "b"])(_bytes(f"{text}\n")),
    "csv in quotes": lambda text: delimited(_CSV, ["a", "b"])(_bytes(f'"{text}\n')),
    "guarded": lambda text: delimited(_TSV, ["a"], guarded=True)(_bytes(f"{text}\n")),
    "header": lambda text: read_header(_bytes(f"{text}\n"), _CSV),
    "json": lambda text: json_line(_bytes(text)),
    "ndjson": lambda text: parse_line(_bytes(text)),
    "manifest": lambda text: decode(_bytes(text), Path("a.json")),
    "address": folded_address,
    "domain": folded_domain,
    "common text": common_text,
    "needle": lambda text: Criterion("rcpt", text, Rule.ADDRESS).needle(Format.CSV),
    "formula": lambda text: unguarded(guarded(text, ","), ","),
    "cell": cleaner(_CSV),
    "suspect": lambda text: is_suspect(_bytes(text)),
    "printable": printable,
    "logged": log._text,
    "cause": lambda text: patience._NUMBER.sub("", text),
    "key of a refusal": _KEY.search,
}


def least_seconds(read: Callable[[str], object], text: str) -> float:
    """Return the time that it takes, the least of several."""
    best = 1e9
    for _ in range(RUNS):
        begin = time.thread_time()
        with suppress(ValueError, BadLine, BadManifest, AccountingError, OverflowError):
            read(text)
        best = min(best, time.thread_time() - begin)
        if best < NOTHING:
            break
    return best


@pytest.mark.parametrize("name", READERS)
def test_four_times_the_text_takes_about_four_times_as_long(name: str) -> None:
    read = READERS[name]
    for part in PARTS:
        for end in ENDS:
            short, long = (part * (size // len(part)) + end for size in (SIZE, 4 * SIZE))
            took = least_seconds(read, long)
            assert took < 10, (name, part, end, took)
            if took > NOTHING:
                assert took / least_seconds(read, short) < RATIO, (name, part, end, took)


@pytest.mark.parametrize(
    "text",
    [
        "path={}", "archive_url=file:///{}", "[location]\nbounce={}", "[archive_to]\nbounce={}", "filename={}",
        "[redis]\npassword_file={}", "[server]\ndirectory={}", "[redis]\nurl=unix:///{}", "[fields]\nbounce={}",
        "timezone={}", "{}=1", "[{}]", "{}",
    ],
)  # fmt: skip
def test_an_ini_of_100_kilobytes_is_answered_at_once(text: str, tmp_path: Path) -> None:
    for part in (" ", "a/", "../", "a", "./", "/", "{", "x,", "[", "=", "\\\n", "custom_x,"):
        file = tmp_path / "accounting_files.ini"
        file.write_text(text.replace("{}", part * (100_000 // len(part))))
        begin = time.thread_time()
        loader.check(file)
        assert time.thread_time() - begin < 10, (text, part)
