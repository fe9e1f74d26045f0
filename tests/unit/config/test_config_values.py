"""Values: what each key accepts and what it becomes, and what it refuses with which words."""

import subprocess
import sys
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.columns import columns
from config.key import Key
from config.keys import KEYS
from config.loader import check
from config.naming import default_consumer
from schemas.catalogue import FIELDS
from schemas.events import TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCEPTED: "Sequence[tuple[str, str, object]]" = [
    ("path", "/a/b", Path("/a/b")),
    ("format", "CSV", "csv"),
    ("format", "original", "original"),
    ("extension", ".csv", "csv"),
    ("extension", "tsv.log", "tsv.log"),
    ("separator", "\t", "\t"),
    ("separator", r"\t", "\t"),
    ("separator", ";", ";"),
    ("separator", ",", ","),
    ("separator", "¦", "¦"),
    ("archiving", "TRUE", True),
    ("archiving", "yes", True),
    ("archiving", "on", True),
    ("archiving", "1", True),
    ("archiving", "false", False),
    ("archiving", "No", False),
    ("archiving", "off", False),
    ("archiving", "0", False),
    ("archive_interval", "1", 1),
    ("archive_interval", "315360000", 315_360_000),
    ("archive_cron", "0 0 * * 1-5", "0 0 * * mon,tue,wed,thu,fri"),
    ("max_size", "200", 200_000_000),
    ("max_size", "0.2", 200_000),
    ("max_size", "0.000001", 1),
    ("max_size", "2.01", 2_010_000),
    ("timezone", "utc", UTC),
    ("timezone", "Europe/Berlin", ZoneInfo("Europe/Berlin")),
    ("filename", "{consumer}-{type}.{time}.log", "{consumer}-{type}.{time}.log"),
    ("filename", "{time}", "{time}"),
    ("location.bounce", "/bounces", "bounces"),
    ("location.bounce", "//a/./b//", "a/b"),
    ("archive_to.bounce", "/archive", "archive"),
    ("archive_to.bounce", "recovered", "recovered"),
    ("compress", "ZSTD", "zstd"),
    ("archive_url", "s3://bucket/a/{directory}/", "s3://bucket/a/{directory}"),
    ("archive_url", "file:///srv/archive", "file:///srv/archive"),
    ("archive_url", "abfss://files@account.dfs.core.windows.net/a", "abfss://files@account.dfs.core.windows.net/a"),
    ("keep_days", "0", 0),
    ("keep_mb", "0.5", 500_000),
    ("redis.url", "redis://h", "redis://h"),
    ("redis.url", "rediss://u:p@h:1/2?ssl_ca_certs=/ca.pem", "rediss://u:p@h:1/2?ssl_ca_certs=/ca.pem"),
    ("redis.url", "redis://[::1]:6379/0", "redis://[::1]:6379/0"),
    ("redis.url", "unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1"),
    ("redis.url", "unix://u:p@/run/valkey.sock", "unix://u:p@/run/valkey.sock"),
    ("redis.url", "Redis://u:P@H/1", "redis://u:P@H/1"),
    ("redis.url", "redis://[fe80::1%25eth0]:1", "redis://[fe80::1%25eth0]:1"),
    (
        "redis.url",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=no",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=no",
    ),
    ("archive_url", "FILE:///srv/archive/", "file:///srv/archive"),
    ("redis.socket_timeout_seconds", "2.5", 2.5),
    ("redis.partition", "a:1", "a:1"),
    ("worker.name", "worker-1", "worker-1"),
    ("worker.name", "0" * 128, "0" * 128),
    ("server.port", "65535", 65_535),
]

REFUSED = [
    ("path", "a\x07b", "control characters"),
    ("format", "cvs", "did you mean csv?"),
    ("format", "xml", "tsv, csv, jsonl, original"),
    ("extension", "a/b", "letters"),
    ("extension", "..", "letters"),
    ("separator", ";;", "one character"),
    ("separator", r"\n", "one character"),
    ("separator", "\x01", "one character"),
    ("separator", "\x7f", "one character"),
    ("separator", "\x85", "one character"),
    ("separator", "\u2028", "one character"),
    ("separator", '"', "never quoted"),
    ("separator", "-", "never quoted"),
    ("separator", ":", "never quoted"),
    ("separator", "1", "never quoted"),
    ("separator", "x", "never quoted"),
    ("archiving", "maybe", "true or false"),
    ("archive_interval", "0", "from 1 to"),
    ("archive_interval", "-5", "from 1 to"),
    ("archive_interval", "1.5", "whole number of seconds"),
    ("archive_interval", "1e3", "whole number of seconds"),
    ("archive_interval", "٣", "whole number of seconds"),
    ("archive_interval", "9" * 5000, "from 1 to"),
    ("archive_cron", "0 0 * *", "expected five fields"),
    ("archive_cron", "0 25 * * *", "expected another hour than '25'"),
    ("max_size", "0", "above 0"),
    ("max_size", "-1", "above 0"),
    ("max_size", "nan", "above 0"),
    ("max_size", "inf", "above 0"),
    ("max_size", "0.0000001", "above 0"),
    ("max_size", "9999999999", "above 0"),
    ("timezone", "Europe/Berln", "did you mean Europe/Berlin?"),
    ("timezone", "Europe", "IANA"),
    ("timezone", "../etc/passwd", "IANA"),
    ("timezone", "/etc/passwd", "IANA"),
    ("filename", "{type}.{extension}", "{time} must stand once"),
    ("filename", "{time}.{time}", "{time} must stand once"),
    ("filename", "{time}{type}", "{time} must stand once"),
    ("filename", "{time}-1", "{time} must stand once"),
    ("filename", "{time}7", "{time} must stand once"),
    ("filename", "{time}.{node}", "unknown placeholder {node}"),
    ("filename", "{time}.{type!r}", "unknown placeholder"),
    ("filename", ".{time}", "not beginning with a dot"),
    ("filename", "a/{time}", "letters, digits"),
    ("filename", "{{time}", "letters, digits"),
    ("filename", "{time}.\x01", "letters, digits"),
    ("filename", "{time}." + "a" * 100, "at most 100"),
    ("location.bounce", "../bounce", ".. is refused"),
    ("location.bounce", "/a/../../b", ".. is refused"),
    ("location.bounce", "/", "name of a directory"),
    ("location.bounce", "./.", "name of a directory"),
    ("location.bounce", "/lost/bounce", "keeps accepted, copied, forgotten, journal, lost, recovered, series"),
    ("location.bounce", "recovered", "keeps accepted, copied"),
    ("location.bounce", "forgotten/b", "keeps accepted, copied, forgotten"),
    ("location.bounce", "journal/b", "keeps accepted, copied"),
    ("location.bounce", "accepted", "keeps accepted, copied"),
    ("location.bounce", "a" * 256, "255 bytes"),
    ("archive_to.bounce", "..", ".. is refused"),
    ("archive_to.bounce", ".", "name of a directory"),
    ("archive_to.bounce", "a\x00b", "control characters"),
    ("compress", "zst", "did you mean zstd?"),
    ("archive_url", "/srv/archive", "begins with s3://"),
    ("archive_url", "memory:///", "begins with s3://"),
    ("archive_url", "s3://key:secret@bucket/a", "without credentials"),
    ("archive_url", "abfss://files:secret@account/a", "without credentials"),
    ("archive_url", "s3:///a", "name of a bucket"),
    ("archive_url", "file:///", "expected a directory"),
    ("archive_url", "file://host/a", "expected a directory"),
    ("archive_url", "s3://bucket/../other", "without .."),
    ("archive_url", "s3://bucket/a?x=1", "without query"),
    ("archive_url", "file:///srv/%2e%2e/x", "without .."),
    ("archive_url", "file:///srv/%00x", "control characters"),
    ("archive_url", "s3://bucket/{consumer}", "unknown placeholder {consumer}"),
    ("archive_url", "s3://bucket/{directory", "unknown placeholder {"),
    ("archive_url", "s3://[bucket", "expected a URL"),
    ("keep_days", "-1", "whole number of days"),
    ("keep_mb", "0", "above 0"),
    ("keep_recovered_days", "0", "from 1"),
    ("redis.url", "redi://h", "did you mean redis?"),
    ("redis.url", "h:6379", "expected redis://"),
    ("redis.url", "redis://", "expected redis://"),
    ("redis.url", "redis://h:0", "expected redis://"),
    ("redis.url", "redis://h:99999", "expected redis://"),
    ("redis.url", "redis://h:x", "expected redis://"),
    ("redis.url", "redis://[::1", "expected redis://"),
    ("redis.url", "redis://h/x", "expected redis://"),
    ("redis.url", "redis://h h", "expected redis://"),
    ("redis.url", "redis://h?socket_timeout=0", "option 'socket_timeout'"),
    ("redis.url", "redis://h?db=x", "number of a database"),
    ("redis.url", "unix://", "expected unix:///path"),
    ("redis.url", "unix:/run/valkey.sock", "expected redis://"),
    ("redis.url", "unix://run/valkey.sock", "three slashes"),
    ("redis.url", "unix:///" + "a" * 107, "at most 107 bytes"),
    ("redis.url", "unix:///a%00b", "expected unix:///path"),
    ("redis.url", "unix:///run/valkey.sock?ssl_ca_certs=/a", "with rediss:// only"),
    ("redis.url", "redis:h", "expected redis://"),
    ("redis.url", "redis://h?ssl_cert_reqs=none", "with rediss:// only"),
    ("redis.url", "rediss://h?ssl_cert_reqs=nothing", "required or optional or none"),
    ("redis.url", "rediss://h?ssl_check_hostname=off", "true or yes or 1 or false"),
    ("redis.url", "rediss://h?ssl_keyfile=/a", "expected with ssl_certfile"),
    ("redis.url", "rediss://h?ssl_ca_certs=", "expected a value"),
    ("redis.url", "redis://h?db=1&db=2", "each option once"),
    ("redis.url", "redis://h/1?db=2", "one number of a database"),
    ("redis.url", "redis://h#0", "a # is %23"),
    ("redis.url", "redis://a..b", "expected redis://"),
    ("redis.url", "redis://" + "a" * 64, "expected redis://"),
    ("redis.url", "redis://h%20x", "expected redis://"),
    ("redis.url", "redis://[1:2]", "expected redis://"),
    ("redis.url", "redis://:%ff@h", "expected redis://"),
    ("redis.partition", "{a}", "no braces"),
    ("redis.partition", "a b", "no braces"),
    ("redis.block_ms", "0", "milliseconds from 1"),
    ("redis.lease_seconds", "4", "from 5"),
    ("worker.name", "-a", "beginning with a letter or digit"),
    ("worker.name", "a/b", "letters, digits"),
    ("worker.name", "0" * 129, "at most 128"),
    ("server.port", "0", "a port from 1 to 65535"),
    ("server.port", "65536", "a port from 1 to 65535"),
]


def key_id(name: str) -> tuple[str, str]:
    section, _, key = name.rpartition(".")
    return section or "main", key


@pytest.mark.parametrize(("key", "text", "value"), ACCEPTED)
def test_a_fit_text_becomes_the_value(key: str, text: str, value: object) -> None:
    assert KEYS[key_id(key)].parse(text) == value


@pytest.mark.parametrize(("key", "text", "expected"), REFUSED)
def test_an_unfit_text_is_refused_with_what_was_expected(key: str, text: str, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        KEYS[key_id(key)].parse(text)
    assert expected in str(refusal.value)


@pytest.mark.parametrize("key", KEYS.values(), ids=map(".".join, KEYS))
@given(text=st.text(min_size=1))
def test_any_text_is_a_value_or_refused(key: Key[object], text: str) -> None:
    try:
        key.parse(text)
    except ValueError as refusal:
        assert str(refusal)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rcpt", ("rcpt",)),
        (" type ,rcpt,\tdsnMsg ", ("type", "rcpt", "dsnMsg")),
        ("custom_Subject,custom_X-Mailer", ("custom_Subject", "custom_X-Mailer")),
        (",".join(FIELDS), tuple(FIELDS)),
    ],
)
def test_columns_keep_their_order(text: str, expected: tuple[str, ...]) -> None:
    assert columns(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rcpt,rcptt", "unknown field 'rcptt' (did you mean rcpt?)"),
        ("TIMELOGGED", "(did you mean timeLogged?)"),
        ("custom", "(did you mean custom_FIELD?)"),
        ("a,b", "unknown field 'b'"),
        ("rcpt,,type", "empty field name"),
        ("rcpt,", "empty field name"),
        ("rcpt, rcpt", "field 'rcpt' stands twice"),
        ("custom_Subject,custom_subject", "field 'custom_subject' stands twice"),
        ("custom_", "'custom_' is no custom_"),
        ("custom_X Y", "'custom_X Y' is no custom_"),
        ("custom_X:Y", "'custom_X:Y' is no custom_"),
        ('custom_X"Y', "is no custom_"),
        ("custom_X\\Y", "is no custom_"),
        ("custom_Betreffü", "'custom_Betreffü' is no custom_"),
    ],
)
def test_columns_that_no_row_can_have_are_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match="each once, separated by commas") as refusal:
        columns(text)
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mail1", "mail1-1"),
        ("mail1.example.org", "mail1.example.org-1"),
        ("_ü_", "worker-1"),
        ("h" * 300, "h" * 100 + "-1"),
    ],
)
def test_the_default_consumer_is_made_of_the_host_name(monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert default_consumer() == name
    assert KEYS["worker", "name"].parse(name) == name


def local_zone(tz: str) -> subprocess.CompletedProcess[str]:
    """Read `local` in a process of its own: the library remembers what it found."""
    code = "from config.keys import TIMEZONE; print(TIMEZONE.parse('local'))"
    environ = {"TZ": tz, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)


def test_local_time_is_that_of_the_system() -> None:
    assert local_zone("Asia/Tokyo").stdout == "Asia/Tokyo\n"


def test_a_local_time_that_cannot_be_told_is_refused() -> None:
    outcome = local_zone("Nowhere/Land")
    assert outcome.returncode == 1
    assert "give UTC or an IANA name" in outcome.stderr


def test_every_type_has_a_location_an_archive_and_fields() -> None:
    for section in ("location", "archive_to", "fields"):
        assert [key for other, key in KEYS if other == section] == list(TYPES)


@pytest.mark.parametrize("line", ["archive_cron=0 0 * {} *", "{}=1", "[{}]", "[fields]\ndelivered={}"])
def test_a_problem_that_repeats_what_stands_in_the_file_has_an_end(line: str, tmp_path: Path) -> None:
    file = tmp_path / "accounting_files.ini"
    file.write_text(line.format("x" * 50_000) + "\n")
    [problem, *_] = check(file, environ={}).problems
    assert problem.line
    assert len(str(problem)) < 3000
