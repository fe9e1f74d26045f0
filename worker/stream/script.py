"""Lua scripts of this package, each in a file of its own."""

import hashlib
from importlib import resources


class Script:
    """A script by the digest that Redis knows it by."""

    def __init__(self, name: str) -> None:
        self.source = resources.files("worker.stream").joinpath("scripts", f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()
