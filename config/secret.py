"""The secret: the password for Redis, out of the environment or a file; never out of a message or a log."""

import stat
from collections.abc import Mapping
from pathlib import Path

from config.files import read_file

VARIABLE = "ACCOUNTING_REDIS_PASSWORD"
CREDENTIALS = "$CREDENTIALS_DIRECTORY"  # at the beginning of a path: where systemd puts them (systemd.exec(5))
_MAX_BYTES = 4096


def password(environ: Mapping[str, str], file: Path | None) -> str | None:
    """Return the password of the environment, else that of the file; ValueError where the file has none."""
    if given := environ.get(VARIABLE):
        if any("\ud800" <= char <= "\udfff" for char in given):  # bytes that did not decode
            raise ValueError(f"{VARIABLE}: expected text in UTF-8")
        return given
    return None if file is None else _first_line(_located(environ, file))


def exposure(environ: Mapping[str, str], file: Path | None) -> str | None:
    """Return who else can read or change the file of the password; None where nobody, or where it is not used."""
    if file is None or environ.get(VARIABLE):
        return None
    try:
        path = _located(environ, file)
        mode, above = (stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent))
    except (OSError, ValueError):
        return None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can change it (mode {mode:04o}): expected 0600, or 0640"
    if mode & stat.S_IROTH and above & stat.S_IXOTH:
        return f"everybody can read it (mode {mode:04o}): expected 0600, or 0640"
    return None


def _located(environ: Mapping[str, str], file: Path) -> Path:
    """Return where a file is, ValueError where systemd gave this process no credentials."""
    if file.parts[0] != CREDENTIALS:
        return file
    if not (directory := environ.get(CREDENTIALS.removeprefix("$"))):
        raise ValueError(f"{CREDENTIALS} is not set: expected LoadCredential= in the unit of systemd, or a path")
    return Path(directory, *file.parts[1:])


def _first_line(file: Path) -> str:
    try:
        content = read_file(file, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("expected a file of text in UTF-8") from error
    line = content.partition("\n")[0].rstrip("\r")
    if not line:
        raise ValueError("the file's first line is empty: expected the password")
    return line
