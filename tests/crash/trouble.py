"""What a disk can answer instead of doing what it was asked: an error, no room, half a write, a failed fsync."""

import errno

#: The operations that each trouble can befall, and its errno.
KINDS = {
    "eio": ({"open", "create", "write", "fsync", "ftruncate", "link", "unlink", "replace", "fchmod"}, errno.EIO),
    "full": ({"create", "write", "link", "replace"}, errno.ENOSPC),
    "fsync": ({"fsync"}, errno.EIO),
    "short": (set[str](), 0),
}


class Troubles:
    """The troubles that one disk has in store."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}  # by kind: how many operations it will befall
        self._is_full = False

    def begin(self, kind: str, times: int) -> None:
        """Let the next so many operations of a kind meet a trouble; a full disk stays full."""
        self._is_full |= kind == "full"
        if kind != "full":
            self._left[kind] = times

    def make_room(self) -> None:
        """Let a full disk have room again."""
        self._is_full = False

    def end(self) -> None:
        """Let everything be well from now on."""
        self._left.clear()
        self._is_full = False

    def meet(self, what: str) -> int:
        """Return the errno that an operation meets, or 0; whatever was asked is not done then."""
        operation = what.partition(" ")[0]
        for kind, (operations, number) in KINDS.items():
            if operation in operations and self._befalls(kind):
                return number
        return 0

    def written_of(self, length: int) -> int:
        """Return how much of a write is done."""
        return length // 2 if length > 1 and self._befalls("short") else length

    def _befalls(self, kind: str) -> bool:
        if kind == "full":
            return self._is_full
        left = self._left.get(kind, 0)
        self._left[kind] = max(0, left - 1)
        return left > 0
