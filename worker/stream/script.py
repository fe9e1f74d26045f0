"""Lua scripts of this package, each in a file of its own; a line `-- @part <name>` stands for another file."""

import hashlib
import re
from importlib import resources

_PART = re.compile(rb"^-- @part (\w+)$", re.MULTILINE)


class Script:
    """A script by the digest that Redis knows it by."""

    def __init__(self, name: str) -> None:
        self.source = _PART.sub(lambda found: _read(found[1].decode()), _read(name))
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


def _read(name: str) -> bytes:
    return resources.files("worker.stream").joinpath("scripts", f"{name}.lua").read_bytes()
