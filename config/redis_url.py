"""The URL of Redis. What it says is never repeated in a message: it can hold a password."""

import ipaddress
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from config.problem import nearest

_SCHEMES = ("redis", "rediss", "unix")
_EXPECTED = "expected redis://host:6379/0, rediss://… with TLS, or unix:///path/to/socket"
_TLS = ("ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
_WORDS = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "yes", "1", "false", "no", "0"),
}
_LONGEST_SOCKET_BYTES = 107  # of sockaddr_un.sun_path on Linux, without its end


class _Unfit(ValueError):
    """A URL that says where no server can be; the message says what was expected."""


def redis_url(text: str) -> str:
    """Return the URL, its scheme in small letters; that, host, port, database and options are checked."""
    try:
        parts = urlsplit(text)
        _check_place(text, parts)
    except _Unfit:
        raise
    except ValueError:  # half a pair of brackets; a port that is no number, or beyond 65535; escapes that are no UTF-8
        raise ValueError(_EXPECTED) from None
    _check_options(parts)
    return f"{parts.scheme}{text[len(parts.scheme) :]}"  # the client knows it in small letters only


def options_of(url: str) -> dict[str, str]:
    """Return the options behind the question mark."""
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def has_password(url: str) -> bool:
    """Tell whether the URL holds a password."""
    return bool(urlsplit(url).password)


def without_password(url: str) -> str:
    """Return the URL without its password: where another one is given, the client must not see two."""
    user, colon, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return url.replace(f"{user}{colon}{password}@", f"{user}@" if user else "", 1) if colon else url


def _check_place(text: str, parts: SplitResult) -> None:
    """Raise ValueError for a URL that leads nowhere."""
    if parts.scheme not in _SCHEMES or not text[len(parts.scheme) :].startswith("://"):
        raise _Unfit(f"{_EXPECTED}{'' if parts.scheme in _SCHEMES else nearest(parts.scheme, _SCHEMES)}")
    if not text.isprintable() or " " in text or "#" in text:
        raise _Unfit(f"{_EXPECTED}; a blank in it is %20, a # is %23")
    for escaped in (parts.username, parts.password, parts.path):
        unquote(escaped or "", errors="strict")
    if parts.scheme == "unix":
        _check_socket(parts)
    elif parts.port == 0 or not _is_host(unquote(parts.hostname or "")) or not _is_database(parts.path[1:] or "0"):
        raise _Unfit(_EXPECTED)


def _check_socket(parts: SplitResult) -> None:
    path = unquote(parts.path)
    if parts.netloc.rpartition("@")[2]:
        raise _Unfit("expected three slashes, as in unix:///path/to/socket: behind two stands a host")
    if len(path) < 2 or not path.isprintable() or len(path.encode()) > _LONGEST_SOCKET_BYTES:
        raise _Unfit(f"expected unix:///path/to/socket, a path of at most {_LONGEST_SOCKET_BYTES} bytes")


def _is_host(name: str) -> bool:
    """Tell whether a name can be that of a host. Raises UnicodeError, a ValueError, for labels that cannot."""
    if ":" in name:
        ipaddress.IPv6Address(name)
        return True
    return bool(name.encode("idna")) and name.isprintable() and not {" ", "/"} & set(name)


def _check_options(parts: SplitResult) -> None:
    """Raise ValueError for options that the client does not know, or not with this scheme."""
    known = ("db", *_TLS)
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        if name not in known:  # the client would let timeouts and retries of the URL overrule ours
            raise ValueError(f"option {name!r}{nearest(name, known)}: expected none but {', '.join(known)}")
        if name in _TLS and parts.scheme != "rediss":
            raise ValueError(f"option {name}: expected with rediss:// only, which is Redis with TLS")
        if not value or value not in _WORDS.get(name, (value,)):
            raise ValueError(f"option {name}: expected {' or '.join(_WORDS.get(name, ('a value',)))}")
        if name == "db" and not _is_database(value):
            raise ValueError("expected the number of a database as db")
    names = [name for name, _ in given]
    if len(set(names)) < len(names) or ("db" in names and parts.scheme != "unix" and parts.path.strip("/")):
        raise ValueError("expected each option once, and one number of a database")
    if "ssl_keyfile" in names and "ssl_certfile" not in names:
        raise ValueError("option ssl_keyfile: expected with ssl_certfile, the certificate that it belongs to")


def _is_database(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6
