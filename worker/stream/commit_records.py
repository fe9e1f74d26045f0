"""The commit records of one directory, read from outside: how far its open files count. Read-only."""

from types import TracebackType
from typing import Self

import msgspec

from worker import records
from worker.errors import StreamUnavailable
from worker.fields import shown
from worker.records import Record
from worker.stream.keys import Keys
from worker.stream.link import Connector, Link


class CommitRecords:
    """Reads the records of a directory, on a connection that is made when it is needed and made anew once it broke."""

    def __init__(self, connect: Connector, partition: str, directory: str) -> None:
        self._key = Keys.of(partition).records
        self._suffix = f" {directory}"
        self._link = Link(connect)
        self._is_open = False
        self.unreadable: list[str] = []  # what the last reading left out, and why

    def read(self) -> list[Record]:
        """Return the records, one for each consumer that ever worked in the directory. Raises StreamUnavailable.

        One that was not written by this version is left out.
        """
        try:
            if not self._is_open:
                self._link.open()
                self._is_open = True
            stored = self._link.call("HGETALL", self._key)
        except StreamUnavailable:
            self.close()
            raise
        self.unreadable = []
        fields = zip(stored[::2], stored[1::2], strict=True)
        mine = [(name, value) for name, value in fields if name.endswith(self._suffix.encode())]
        return [record for name, value in mine if (record := self._record(name, value))]

    def close(self) -> None:
        """Give the connection up."""
        self._link.close()
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _record(self, name: bytes, value: bytes) -> Record | None:
        try:
            return records.decode(value)
        except msgspec.MsgspecError as error:
            owner = shown(name.decode("utf-8", "replace"))
            self.unreadable.append(f"{self._key}: the record of {owner} cannot be read: {error}")
            return None
