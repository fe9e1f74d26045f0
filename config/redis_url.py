"""The URL of Redis. What it says is never repeated in a message: it can hold a password."""

from urllib.parse import SplitResult, parse_qsl, urlsplit

from config.problem import nearest

_SCHEMES = ("redis", "rediss", "unix")
_EXPECTED = "expected redis://host:6379/0, rediss://… with TLS, or unix:///path/to/socket"
_OPTIONS = ("db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")


def redis_url(text: str) -> str:
    """Return the URL, its scheme, host, port, database and options checked."""
    try:
        parts = urlsplit(text)
        complete = text.isprintable() and " " not in text and _names_a_server(parts)
    except ValueError:  # half a pair of brackets; a port that is no number, or beyond 65535
        raise ValueError(_EXPECTED) from None
    if not complete:
        raise ValueError(f"{_EXPECTED}{nearest(parts.scheme, _SCHEMES)}")
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        if option not in _OPTIONS:  # the client would let timeouts and retries of the URL overrule ours
            raise ValueError(f"option {option!r}{nearest(option, _OPTIONS)}: expected none but {', '.join(_OPTIONS)}")
        if option == "db" and not _is_database(value):
            raise ValueError("expected the number of a database as db")
    return text


def has_password(url: str) -> bool:
    """Tell whether the URL holds a password."""
    return bool(urlsplit(url).password)


def without_password(url: str) -> str:
    """Return the URL without its password: where another one is given, the client must not see two."""
    user, colon, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return url.replace(f"{user}{colon}{password}@", f"{user}@" if user else "", 1) if colon else url


def _names_a_server(parts: SplitResult) -> bool:
    if parts.scheme == "unix":
        return len(parts.path) > 1
    if parts.scheme not in _SCHEMES or parts.port == 0:
        return False
    return bool(parts.hostname) and _is_database(parts.path.removeprefix("/") or "0")


def _is_database(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6
