"""The secret: the password for Redis, out of the environment or a file; never out of a message or a log."""

from collections.abc import Mapping
from pathlib import Path

from config.files import read_bounded

VARIABLE = "ACCOUNTING_REDIS_PASSWORD"
_MAX_BYTES = 4096


def password(environ: Mapping[str, str], file: Path | None) -> str | None:
    """Return the password of the environment, else that of the file; ValueError where the file has none."""
    if given := environ.get(VARIABLE):
        if any("\ud800" <= char <= "\udfff" for char in given):  # bytes that did not decode
            raise ValueError(f"{VARIABLE}: expected text in UTF-8")
        return given
    return None if file is None else _first_line(file)


def _first_line(file: Path) -> str:
    try:
        content = read_bounded(file, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("expected a file of text in UTF-8") from error
    line = content.partition("\n")[0].rstrip("\r")
    if not line:
        raise ValueError("the file's first line is empty: expected the password")
    return line
