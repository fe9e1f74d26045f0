"""Loading: precedence, every problem at once with its place, warnings, secrets."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config import ConfigError, Problem, Report, check, load
from config.keys import KEYS, SECTIONS
from tests.unit.config.conftest import Check, Read
from worker.settings import Format

BAD = """\
pth=x
archive_interval=-5
separator=\x01
junk
[locations]
x=1
[location]
delivered=/a
bounce=a/b
deferred=../x
[fields]
bounce=type,RCPT,dsnmsg
[redis]
url=redis://:hush@host:99999
block_ms=9000
[worker]
max_size=3
[archive_to]
max_size=0
delivered=/
delivered=archive
"""


def places(problems: tuple[Problem, ...]) -> list[tuple[int | None, str | None, str | None]]:
    return [(problem.line, problem.section, problem.key) for problem in problems]


def message(report: Report) -> str:
    assert len(report.problems) == 1, report.problems
    return str(report.problems[0])


@pytest.mark.parametrize("text", ["", "\n\n", "; only a comment", "\ufeff\r\n", "[location]\n[fields]\n"])
def test_a_blank_file_means_all_defaults(read_text: Read, text: str) -> None:
    assert read_text(text) == load(None, environ={}).settings


def test_a_blank_value_means_the_default(read_text: Read) -> None:
    sections: dict[str, list[str]] = {section: [] for section in SECTIONS}
    for section, name in KEYS:
        sections[section].append(f"{name} =  ")
    text = "\n".join(f"[{section}]\n" + "\n".join(lines) for section, lines in sections.items())
    assert read_text(text) == read_text("")


def test_the_defaults_are_those_of_the_old_plugin(read_text: Read, tmp_path: Path) -> None:
    settings = read_text("")
    assert settings.directory.path == tmp_path / "accounting_files"
    assert (settings.rows.format, settings.rows.separator, settings.names.extension) == (Format.TSV, "\t", "tsv")
    assert (settings.rotation.archiving, settings.rotation.interval_seconds) == (False, 86_400)
    assert settings.rotation.max_size_bytes == 200_000_000
    assert settings.directory.location == {"delivered": "delivered", "deferred": "deferred", "bounce": "bounce"}
    assert set(settings.directory.archive_to.values()) == {"archive"}
    common = "type,timeLogged,timeQueued,rcpt,srcMta,srcIp,vmta,jobId,dsnStatus,dsnMsg"
    assert {name: ",".join(columns) for name, columns in settings.rows.columns.items()} == {
        "delivered": common,
        "deferred": f"{common},delay",
        "bounce": f"{common},bounceCat",
    }


@pytest.mark.parametrize(
    ("text", "separator", "extension"),
    [
        ("format=tsv", "\t", "tsv"),
        ("format=csv", ",", "csv"),
        ("format=csv\nseparator=\t", "\t", "csv"),
        ("format=jsonl", "\t", "jsonl"),
        ("format=original", "\t", "tsv"),
        ("format=csv\nseparator=;\nextension=txt", ";", "txt"),
        ("format=original\nseparator=|", "|", "tsv"),
        ("separator=;", ";", "tsv"),
    ],
)
def test_separator_and_extension_follow_the_format(read_text: Read, text: str, separator: str, extension: str) -> None:
    settings = read_text(text)
    assert (settings.rows.separator, settings.names.extension) == (separator, extension)


def test_names_and_rows_have_one_time_zone(read_text: Read) -> None:
    settings = read_text("timezone=Europe/Berlin")
    assert settings.rows.timezone is settings.names.timezone
    assert str(settings.names.timezone) == "Europe/Berlin"


def test_every_key_reaches_its_setting(read_text: Read, tmp_path: Path) -> None:
    settings = read_text(
        "path=files\nfilename={consumer}.{time}\narchiving=yes\narchive_interval=60\nmax_size=0.5\n[archive_to]\n"
        "deferred=old\n[redis]\nurl=redis://h\npartition=p\nsocket_timeout_seconds=7\nblock_ms=20\nlease_seconds=40\n"
        "batch_entries=3\nbatch_bytes=10000\n[worker]\nname=w\n[server]\ndirectory=valkey\nport=1234\n"
    )
    assert settings.directory.path == tmp_path / "files"
    assert settings.directory.archive_to["deferred"] == "old"
    assert settings.names.template == "{consumer}.{time}"
    rotation, stream = settings.rotation, settings.stream
    assert (rotation.archiving, rotation.interval_seconds, rotation.max_size_bytes) == (True, 60, 500_000)
    assert (stream.url, stream.partition, stream.socket_timeout_seconds) == ("redis://h", "p", 7.0)
    assert (stream.block_ms, stream.lease_seconds, stream.batch_entries, stream.batch_bytes) == (20, 40, 3, 10_000)
    assert settings.worker.name == "w"
    kept = read_text("compress=gzip\narchive_url=s3://b/p\nkeep_days=3\nkeep_mb=2\nkeep_recovered_days=4\n").janitor
    assert (kept.compress, kept.archive_url, kept.keep_days) == ("gzip", "s3://b/p", 3)
    assert (kept.keep_bytes, kept.keep_recovered_days) == (2_000_000, 4)
    assert (settings.server.directory, settings.server.port) == (tmp_path / "valkey", 1234)


@pytest.mark.parametrize(("timeout", "wait_ms"), [("1", 500), ("1.5", 750), ("5", 1000), ("60", 1000)])
def test_replicas_are_waited_for_well_within_the_socket_timeout(read_text: Read, timeout: str, wait_ms: int) -> None:
    text = f"[redis]\nwait_replicas=1\nblock_ms=100\nlease_seconds=300\nsocket_timeout_seconds={timeout}\n"
    assert read_text(text).stream.wait_ms == wait_ms


def test_the_file_of_the_current_directory_is_read_unless_another_is_named(tmp_path: Path) -> None:
    assert load(None, environ={}).settings.worker.name != "here"
    (tmp_path / "accounting_files.ini").write_text("[worker]\nname=here\n", encoding="utf-8")
    (tmp_path / "other.ini").write_text("[worker]\nname=there\n", encoding="utf-8")
    assert load(None, environ={}).settings.worker.name == "here"
    assert load(Path("other.ini"), environ={}).settings.worker.name == "there"


def test_a_named_file_that_is_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^missing\.ini: No such file or directory: expected a file"):
        load(Path("missing.ini"), environ={})


def test_a_named_file_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    assert "expected a file that can be read" in message(check(tmp_path, environ={}))


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.ini"
    file.write_text("[redis]\nurl=redis://ini\n[worker]\nname=ini\n", encoding="utf-8")
    of_file = load(file, environ={}).settings
    assert (of_file.stream.url, of_file.worker.name) == ("redis://ini", "ini")
    given = load(file, redis_url="redis://option", name="option", environ={}).settings
    assert (given.stream.url, given.worker.name) == ("redis://option", "option")


def test_unfit_options_are_refused_by_their_names() -> None:
    report = check(None, redis_url="http://h", name="a b", environ={})
    assert [str(problem).split(":")[0] for problem in report.problems] == [
        "--redis or ACCOUNTING_REDIS_URL",
        "--name or ACCOUNTING_NAME",
    ]


def test_every_problem_is_named_at_once(check_text: Check) -> None:
    report = check_text(BAD)
    assert report.settings is None
    assert places(report.problems) == [
        (1, "main", "pth"),
        (2, "main", "archive_interval"),
        (3, "main", "separator"),
        (4, None, None),
        (5, "locations", None),
        (9, "location", "bounce"),
        (10, "location", "deferred"),
        (12, "fields", "bounce"),
        (14, "redis", "url"),
        (15, "redis", "block_ms"),
        (17, "worker", "max_size"),
        (19, "main", "max_size"),
        (20, "archive_to", "delivered"),
        (21, "archive_to", "delivered"),
    ]
    with pytest.raises(ConfigError) as refusal:
        load(report.problems[0].file, environ={})
    assert refusal.value.problems == report.problems
    assert str(refusal.value).count("\n") == len(report.problems) - 1


def test_a_problem_reads_as_place_setting_and_what_was_expected(check_text: Check, tmp_path: Path) -> None:
    said = message(check_text("\n[location]\nbounce=.."))
    assert said == f"{tmp_path}/given.ini:3: [location] bounce: expected a directory inside its parent: .. is refused"


def test_no_problem_repeats_a_url_that_may_hold_a_password(check_text: Check) -> None:
    assert "hush" not in "".join(map(str, check_text(BAD).problems))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seperator=;", "did you mean separator?"),
        ("Path=/x", "did you mean path?"),
        ("[locatoin]", "did you mean location?"),
        ("[Fields]\nbounce=type", "did you mean fields?"),
        ("[fields]\ndelivred=type", "did you mean delivered?"),
        ("bounce=type", "belongs below [location] or below [archive_to] or below [fields]"),
        ("url=redis://h", "belongs below [redis]"),
        ("[location]\nextension=csv", "belongs above the first section"),
        ("move_interval=60", "it is called archive_interval"),
        ("move_to=x", "expected the section [archive_to], and below it delivered = …, deferred = …, bounce = …"),
        ("archive_to=archive", "expected the section [archive_to], and below it delivered = …"),
        ("location=/x", "expected the section [location], and below it delivered = …"),
        ("fields=type,rcpt", "expected the section [fields], and below it delivered = …"),
        ("[archive_to]\nmove_interval=60", "it is called archive_interval, and belongs above the first section"),
        ("[path]\nx=1", "expected path = … above the first section"),
        ("[max_size]", "expected max_size = … above the first section"),
        ("path=~/files", "~ is not a home directory here"),
        ('path="/srv/files"', "quotes belong to the name"),
        ("filename={consumer}.{consumer}.{time}\n[worker]\nname=" + "a" * 90, "expected at most 180"),
        ("[redis]\npartition=a\x1bb", "expected the keys' hash tag"),
        ("[redis]\nurl=unix://run/valkey.sock", "expected three slashes"),
        ("[redis]\nurl=rediss://h?ssl_ca_certs=missing.pem", "missing.pem: No such file or directory: expected"),
        ("[redis]\nurl=rediss://h?ssl_ca_path=missing", "missing: expected a directory of certificates"),
        ("[redis]\nurl=rediss://h?ssl_certfile=given.ini", "given.ini: expected certificates in PEM"),
        ("[move_to]\nbounce=x", "it is called [archive_to]"),
        ("archiving", "expected a comment (; or #), a [section], or key = value"),
        ("=1", "expected a comment"),
        ("path=a\npath=b", "line 1 gives it already"),
        ("max_size=1\n[archive_to]\nmax_size=2", "line 1 gives it already"),
        ("path=\udcff", "expected text in UTF-8"),
        ("[redis]\nblock_ms=4501", "expected at most 4500"),
        ("[redis]\nsocket_timeout_seconds=1\nblock_ms=600", "expected at most 500"),
        ("[redis]\nlease_seconds=11", "expected at least 12"),
        ("keep_days=0", "expected an archive_url, or at least 1 day"),
        ("format=jsonl\nextension=json", "would end with .json"),
        ("filename={type}.{time}.gz", "would end with .gz"),
        ("archive_interval=3600\narchive_cron=0 0 * * *", "archive_cron and archive_interval: expected one of them"),
        ("archive_cron=0 0 * *", "archive_cron: expected five fields"),
        ("separator=;\n[fields]\nbounce=rcpt,custom_X;Y", "'custom_X;Y' holds the separator: expected another"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(check_text: Check, text: str, expected: str) -> None:
    assert expected in message(check_text(text))


@pytest.mark.parametrize(
    "text",
    [
        "[redis]\nblock_ms=4500",
        "keep_days=0\narchive_url=s3://bucket/a",
        "[redis]\nsocket_timeout_seconds=1\nblock_ms=500",
        "[redis]\nlease_seconds=12",
        "[fields]\nbounce=rcpt,custom_X;Y",
        "archiving=true\narchive_interval=86400\narchive_cron=0 0 * * *",
        "; caf\udce9 in Latin-1",
    ],
)
def test_what_is_just_fit_is_accepted(check_text: Check, text: str) -> None:
    report = check_text(text)
    assert report.problems == ()
    assert report.warnings == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format=jsonl\nseparator=;", ":2: separator: has no effect: jsonl"),
        ("archive_interval=60", "archive_interval: has no effect while archiving is off"),
        ("archive_cron=0 0 * * *", "archive_cron: has no effect while archiving is off"),
        ("max_size=1", "max_size: has no effect while archiving is off"),
        ("[redis]\nurl=redis://:secret@h", ":2: [redis] url: holds a password"),
        ("[redis]\nurl=rediss://h?ssl_cert_reqs=none", ":2: [redis] url: ssl_cert_reqs=none: the server's certificate"),
        ("[redis]\nurl=rediss://h?ssl_check_hostname=no", ":2: [redis] url: ssl_check_hostname is off"),
        ("keep_mb=199", ":1: keep_mb: is less than max_size"),
        ("archiving=true\n[archive_to]\nmax_size=1", ":3: [archive_to] max_size: accepted here"),
        ("archiving=true\n[archive_to]\narchive_interval=9", ":3: [archive_to] archive_interval: accepted here"),
    ],
)
def test_what_is_unwise_is_accepted_with_a_warning(check_text: Check, text: str, expected: str) -> None:
    report = check_text(text)
    assert report.settings is not None
    assert [expected in str(warning) for warning in report.warnings] == [True]
    assert "secret" not in str(report.warnings[0])


def test_the_password_comes_from_the_environment_before_the_file(tmp_path: Path) -> None:
    file, secret = tmp_path / "a.ini", tmp_path / "secret"
    secret.write_text("of the file\nsecond line", encoding="utf-8")
    secret.chmod(stat.S_IRUSR)
    file.write_text("[redis]\nurl=redis://h\npassword_file=secret\n", encoding="utf-8")
    environs: tuple[dict[str, str], ...] = (
        {},
        {"ACCOUNTING_REDIS_PASSWORD": ""},
        {"ACCOUNTING_REDIS_PASSWORD": "of the environment"},
    )
    passwords = [load(file, environ=environ).settings.stream.password for environ in environs]
    assert passwords == ["of the file", "of the file", "of the environment"]
    assert load(None, environ={}).settings.stream.password is None


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("redis://user:of%20url@h:1/2", "redis://user@h:1/2"),
        ("redis://:of-url@h", "redis://h"),
        ("redis://user@h", "redis://user@h"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("unix://user:of-url@/run/valkey.sock?db=1", "unix://user@/run/valkey.sock?db=1"),
    ],
)
def test_another_password_takes_the_place_of_the_urls(url: str, left: str) -> None:
    stream = load(None, redis_url=url, environ={"ACCOUNTING_REDIS_PASSWORD": "given"}).settings.stream
    assert (stream.url, stream.password) == (left, "given")
    assert load(None, redis_url=url, environ={}).settings.stream.url == url


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        (b"\nsecond", "first line is empty"),
        (b"\xff", "UTF-8"),
        (b"", "first line is empty"),
        (b"x" * 5000, "more than 4,096 bytes"),
    ],
)
def test_a_password_file_without_a_password_is_refused(
    check_text: Check, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    said = message(check_text("[redis]\nurl=redis://h\npassword_file=secret"))
    assert ":3: [redis] password_file: " in said
    assert expected in said


def test_a_password_file_that_is_a_pipe_without_a_writer_or_a_directory_is_refused_at_once(
    check_text: Check, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, expected in (("pipe", "is no file"), (".", "is no file")):
        assert expected in message(check_text(f"[redis]\nurl=redis://h\npassword_file={name}"))


def test_a_password_of_the_environment_that_is_no_text_is_refused() -> None:
    report = check(None, redis_url="redis://h", environ={"ACCOUNTING_REDIS_PASSWORD": "a\udcff"})
    assert "ACCOUNTING_REDIS_PASSWORD: expected text in UTF-8" in message(report)
    assert "udcff" not in message(report)


def test_an_ini_may_come_through_a_pipe_and_never_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "nobody writes into" in message(check(tmp_path / "pipe", environ={}))
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(check, Path(f"/dev/fd/{reading}"), environ={})
        os.write(writing, b"[worker]\nname=through-a-pipe\n")
        os.close(writing)
        report = found.result()
    os.close(reading)
    assert report.settings is not None
    assert report.settings.worker.name == "through-a-pipe"


def test_an_ini_without_an_end_is_refused() -> None:
    assert "is no file" in message(check(Path("/dev/zero"), environ={}))


@pytest.mark.parametrize("line", [" " * 900_000, "a" + " " * 900_000 + "b", "[" * 900_000, "\\\n" * 300_000])
def test_lines_of_any_length_are_read_in_time_that_grows_with_them(check_text: Check, line: str) -> None:
    assert check_text(f"{line}x").problems  # quadratic: for minutes, and the time limit of a test fails it


@pytest.mark.parametrize("size", [1_000_000, 1_000_001])
def test_an_ini_has_a_bounded_size(check_text: Check, size: int) -> None:
    report = check_text(";" * size)
    assert ["more than 1,000,000 bytes" in str(each) for each in report.problems] == [True] * (size > 1_000_000)


LINES = st.lists(
    st.one_of(
        st.builds("{}={}".format, st.sampled_from([name for _, name in KEYS]), st.text()),
        st.builds("[{}]".format, st.sampled_from(list(SECTIONS)) | st.text()),
        st.text(),
    )
)


@given(LINES.map("\n".join))
@example("[archive_to]\nmax_size=x\nmax_size=y")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_text_gives_settings_or_problems_on_its_lines(check_text: Check, text: str) -> None:
    report = check_text("[main]\npath=files\n[redis]\nurl=redis://h\n" + text)
    assert (report.settings is None) == bool(report.problems)
    lines = len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")) + 4
    assert all(problem.line and 1 <= problem.line <= lines for problem in (*report.problems, *report.warnings))
