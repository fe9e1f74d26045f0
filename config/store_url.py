"""URLs of object storage: their shape alone; nothing is asked of the store here."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from config.locations import require_short

_PLACEHOLDER = re.compile(r"\{[^{}]*\}|[{}]")
_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "file")


def store_url(text: str) -> str:
    """Return the URL, its scheme in small letters.

    Raises ValueError for what no store can be at, and for one with a password in it.
    """
    try:
        url = urlsplit(text)
    except ValueError as error:
        raise ValueError("expected a URL, as in s3://bucket/prefix") from error
    if url.scheme not in _SCHEMES:
        raise ValueError(f"expected a URL that begins with {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    if ("@" in url.netloc and url.scheme not in {"abfs", "abfss"}) or ":" in url.netloc.rpartition("@")[0]:
        raise ValueError("expected a URL without credentials: they come from the environment")
    if url.query or url.fragment or not unquote(text).isprintable():
        raise ValueError("expected a URL without query, fragment and control characters")
    unknown = [each for each in _PLACEHOLDER.findall(text) if each != "{directory}"]
    if unknown:
        raise ValueError(f"unknown placeholder {unknown[0]}: expected none but {{directory}}")
    if url.scheme == "file":
        require_short(url.path)
    if url.scheme == "file" and (url.netloc or not url.path.strip("/")):
        raise ValueError("expected a directory, as in file:///srv/archive")
    if url.scheme != "file" and not url.netloc:
        raise ValueError(f"expected the name of a bucket, as in {url.scheme}://bucket/prefix")
    if ".." in unquote(url.path).split("/"):
        raise ValueError("expected a path without ..")
    return f"{url.scheme}{text[len(url.scheme) :]}".rstrip("/")


def directory_of(url: str) -> Path | None:
    """Return the directory of this machine that a URL names, None where it names another store."""
    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
