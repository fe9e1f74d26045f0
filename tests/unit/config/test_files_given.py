"""Files that an operator names: what is no file is refused at once, what others can read or change is told."""

import os
import threading
from pathlib import Path

import pytest

from config import files, tls
from config.loader import Report, check
from config.secret import VARIABLE

_GIVEN = "s3cret"
_INI = "[redis]\nurl=redis://h\npassword_file={}\n"


def _check(tmp_path: Path, file: str, **environ: str) -> Report:
    ini = tmp_path / "a.ini"
    ini.write_text(_INI.format(file), encoding="utf-8")
    return check(ini, environ=environ)


def _secret(tmp_path: Path, mode: int) -> Path:
    secret = tmp_path / "secret"
    secret.write_text(f"{_GIVEN}\n", encoding="utf-8")
    secret.chmod(mode)
    return secret


@pytest.mark.parametrize("has_writer", [False, True])
@pytest.mark.timeout(60)
def test_a_pipe_is_no_password_file_whether_somebody_has_it_open_or_not(tmp_path: Path, *, has_writer: bool) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = os.open(pipe, os.O_RDWR) if has_writer else None  # it never writes
    [problem] = _check(tmp_path, str(pipe)).problems
    assert ":3: [redis] password_file: is no file" in str(problem)
    if writer is not None:
        os.close(writer)


@pytest.mark.parametrize("file", ["/dev/zero", "/dev/null", "/"])
def test_a_device_or_a_directory_is_no_password_file(tmp_path: Path, file: str) -> None:
    [problem] = _check(tmp_path, file).problems
    assert "password_file: is no file: expected a file that can be read" in str(problem)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o600, None), (0o400, None), (0o640, None),
        (0o644, "everybody can read it (mode 0644)"), (0o660, "others can change it (mode 0660)"),
        (0o602, "others can change it (mode 0602)"), (0o666, "others can change it (mode 0666)"),
    ],
)  # fmt: skip
def test_a_password_file_that_others_can_read_or_change_is_told(tmp_path: Path, mode: int, words: str | None) -> None:
    tmp_path.chmod(0o755)
    secret = _secret(tmp_path, mode)
    report = _check(tmp_path, str(secret))
    assert report.settings
    assert report.settings.stream.password == _GIVEN
    told = [str(warning) for warning in report.warnings]
    assert len(told) == (words is not None)
    assert all(words in each and ":3: [redis] password_file: " in each for each in told if words)
    assert not _check(tmp_path, str(secret), **{VARIABLE: _GIVEN}).warnings


def test_a_directory_that_others_cannot_enter_guards_the_password(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert not _check(tmp_path, str(_secret(tmp_path, 0o644))).warnings


def test_the_password_is_a_credential_of_systemd(tmp_path: Path) -> None:
    _secret(tmp_path, 0o400)
    report = _check(tmp_path, "$CREDENTIALS_DIRECTORY/secret", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert report.settings
    assert report.settings.stream.password == _GIVEN
    [problem] = _check(tmp_path, "$CREDENTIALS_DIRECTORY/secret").problems
    assert "$CREDENTIALS_DIRECTORY is not set" in str(problem)
    [problem] = _check(tmp_path, "$CREDENTIALS_DIRECTORY/other", CREDENTIALS_DIRECTORY=str(tmp_path)).problems
    assert "No such file" in str(problem)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_certificate_that_is_a_pipe_is_refused_at_once(tmp_path: Path, option: str) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    assert tls.trouble(f"rediss://h?{option}={pipe}") == f"{pipe}: is no file: expected a file that can be read"


@pytest.mark.timeout(60)
def test_an_ini_from_a_pipe_that_gives_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE_SECONDS", 0.5)
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = os.open(pipe, os.O_RDWR)
    [problem] = check(pipe, environ={}).problems
    assert "a pipe in which nothing comes" in str(problem)
    os.close(writer)


@pytest.mark.timeout(60)
def test_an_ini_from_a_pipe_is_waited_for_while_its_writer_thinks(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.write(writer, b"[worker]\n")

    def end() -> None:
        os.write(writer, b"name=late\n")
        os.close(writer)

    timer = threading.Timer(0.5, end)
    timer.start()
    report = check(Path(f"/dev/fd/{reader}"), environ={})
    timer.join()
    os.close(reader)
    assert report.settings
    assert report.settings.worker.name == "late"
