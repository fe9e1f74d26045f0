"""What an error reply of the server is about: the request, and the key that is not of its type. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from worker.stream.keys import type_of
from worker.stream.script import name_of

_KEY = re.compile(r"\{[^{}]+\}:")
_TWO_WORDS = {"MEMORY", "SCRIPT", "XGROUP", "XINFO"}


def keys_of(request: Sequence[Any]) -> list[str]:
    """Return the keys that a request names."""
    is_script = request[0] == "EVALSHA"
    named = request[3 : 3 + int(request[2])] if is_script else request[1:]
    texts = (each.decode("utf-8", "replace") if is_script and isinstance(each, bytes) else each for each in named)
    return [text for text in texts if isinstance(text, str) and _KEY.match(text)]


def told(request: Sequence[Any], text: str, *, lacks_rights: bool) -> str:
    """Return an error with what was asked for, unless it names a key by itself."""
    keys = keys_of(request)
    if any(key in text for key in keys):
        return text
    if request[0] == "EVALSHA":
        subject = f"script {name_of(request[1])}"
        keys = keys if lacks_rights else []  # any of them: a server does not tell which
    else:
        subject = " ".join(map(str, request[: 2 if request[0] in _TWO_WORDS else 1]))
    return f"{' '.join((subject, ', '.join(keys))).strip()}: {text}"


def misfit(key: str, found: str) -> str | None:
    """Return what is wrong with the type that a key has, None where nothing is."""
    wanted = type_of(key)
    if wanted is None or found in {wanted, "none"}:
        return None
    return f"WRONGTYPE {key} is a {found}, expected a {wanted}"
