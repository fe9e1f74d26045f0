"""Choices out of bytes: what a target needs of structure, taken from the input that a driver made."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Takes from the beginning of an input; where that is used up, everything is the first or the empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def one(self, options: Sequence[T]) -> T:
        """Take one byte, and return one of the options."""
        return options[self.whole() % len(options)]

    def whole(self, size: int = 1) -> int:
        """Take so many bytes as a number."""
        return int.from_bytes(self._take(size))

    def some(self) -> bytes:
        """Take at most 255 bytes."""
        return self._take(self.whole())

    def text(self) -> str:
        """Take a text of at most 255 bytes, whatever they are."""
        return self.some().decode("utf-8", "replace")

    def rest(self) -> bytes:
        """Take everything that is left."""
        return self._take(len(self._data))

    def _take(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        return taken
