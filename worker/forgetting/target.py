"""The address that is looked for, in whatever form it may stand."""

from collections.abc import Sequence

from worker.erasure.lines import Eraser
from worker.erasure.matching import canonical, needle
from worker.settings import Format


class Target:
    """One address."""

    def __init__(self, address: str) -> None:
        """Take an address as a person writes it. Raises ValueError for what is none."""
        self.address = canonical(address)
        local, _, domain = self.address.rpartition("@")
        if not local or not domain:
            raise ValueError(f"{address!r} is no address: expected one such as user@example.org")
        self._needle = needle(address)

    def eraser(self, layout_format: Format, separator: str, columns: Sequence[str]) -> Eraser:
        """Return what takes it out of lines in a layout."""
        return Eraser(layout_format, separator, columns, self.is_wanted, self._needle)

    @property
    def any_text(self) -> Eraser:
        """Return what takes it out of lines of which nobody knows the layout."""
        return self.eraser(Format.TSV, "\t", ())

    def is_wanted(self, address: str) -> bool:
        """Tell whether an address, in its canonical spelling, is this one."""
        return address == self.address

    def may_stand_in(self, content: bytes) -> bool:
        """Tell whether it is worth looking for it."""
        return self._needle in content.lower()
