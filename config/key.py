"""A key: one setting of the ini, with all that parsing, the shipped ini and the reference need to know."""

from typing import Generic, TypeVar

from msgspec import Struct

from config.values import Parser

T_co = TypeVar("T_co", covariant=True)


class Key(Struct, Generic[T_co], frozen=True):
    """One setting. The default is text as in the ini; empty where it depends on something else (`otherwise`)."""

    section: str
    name: str
    parse: Parser[T_co]
    default: str
    meaning: str
    example: str
    otherwise: str = ""

    @property
    def id(self) -> tuple[str, str]:
        """Return section and name, which no two keys share."""
        return self.section, self.name
