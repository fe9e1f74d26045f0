"""Lua scripts of this package, each in a file of its own; a line `-- @part <name>` stands for another file."""

import hashlib
import re
from importlib import resources

_PART = re.compile(rb"^-- @part (\w+)$", re.MULTILINE)

_names: dict[str, str] = {}  # of the scripts of this process, by digest


def name_of(sha: str) -> str:
    """Return the name of a script that is known here, else its digest."""
    return _names.get(sha, sha)


class Script:
    """A script by the digest that Redis knows it by."""

    def __init__(self, name: str) -> None:
        self.source = _PART.sub(lambda found: _read(found[1].decode()), _read(name))
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()
        _names[self.sha] = name


def _read(name: str) -> bytes:
    return resources.files("worker.stream").joinpath("scripts", f"{name}.lua").read_bytes()
