"""Criteria: what a row must show to be found. Pure.

Addresses and domains are compared by what they mean (`worker.addresses`); every other value must be the same. A
criterion names bytes that stand in each line it holds for, so that most of a file needs no parsing.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from worker.addresses import common_text, folded_address, folded_domain
from worker.reading.parse import MISSING, find_column
from worker.settings import Format


class Rule(Enum):
    """How a value is compared."""

    EXACT = "exact"
    ADDRESS = "address"  # by what it means: letters of any case, domains in any spelling
    DOMAIN = "domain"  # of an address; with a dot in front, its subdomains too


class Needle(NamedTuple):
    """Bytes that stand in every line a criterion holds for; `folded`: once its ASCII letters are lower-cased."""

    text: bytes
    folded: bool


class Criterion(NamedTuple):
    """What a column must show."""

    column: str
    value: str
    rule: Rule = Rule.EXACT

    def needle(self, layout_format: Format) -> Needle:
        """Return what to look for; empty where nothing narrows the search."""
        if self.value == MISSING:
            return Needle(b"", folded=False)
        text = self.value if self.rule is Rule.EXACT else common_text(self.value.removeprefix("."))
        # Quotes are doubled in delimited files, and escaped in JSON as backslashes are.
        text = text.replace("\\", '"') if layout_format is Format.JSONL else text
        return Needle(_encoded(max(text.split('"'), key=len)), folded=self.rule is not Rule.EXACT)

    def holds(self, values: Mapping[str, str], columns: Mapping[str, str]) -> bool:
        """Tell whether a row shows it; `columns` says how the file calls the columns."""
        value = values.get(columns[self.column], MISSING)
        match self.rule:
            case Rule.EXACT:
                return value == self.value
            case Rule.ADDRESS:
                return folded_address(value) == folded_address(self.value)
            case Rule.DOMAIN:
                return _is_in(value, self.value)


class Criteria(NamedTuple):
    """What a row must show in all of its columns."""

    each: tuple[Criterion, ...]

    def columns(self, present: Sequence[str]) -> dict[str, str]:
        """Return how a file calls the columns in question, those that it has."""
        found = {criterion.column: find_column(criterion.column, present) for criterion in self.each}
        return {name: column for name, column in found.items() if column is not None}

    def needle(self, layout_format: Format) -> Needle:
        """Return the longest bytes that stand in every line in question; empty where nothing narrows the search."""
        needles = (criterion.needle(layout_format) for criterion in self.each)
        return max(needles, key=lambda needle: len(needle.text), default=Needle(b"", folded=False))

    def hold(self, values: Mapping[str, str], columns: Mapping[str, str]) -> bool:
        """Tell whether a row shows all of it."""
        return all(criterion.holds(values, columns) for criterion in self.each)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # as a command line holds bytes that are no UTF-8


def _is_in(address: str, domain: str) -> bool:
    """Tell whether an address is in a domain, or (`.domain`) in it or below it."""
    _, at, own = address.rpartition("@")
    found, wanted = folded_domain(own), folded_domain(domain.removeprefix("."))
    return bool(at) and (found == wanted or (domain.startswith(".") and found.endswith(f".{wanted}")))
