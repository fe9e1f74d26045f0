"""Addresses that stand in a text: what a value is, and every place inside one where an address may begin and end.

A longer address that only contains another is never taken for it. In a column that holds one address, that is the
whole value, or what mail programs put into the local part of a sender: VERP (`bounce+user=example.org@…`), SRS, BATV.
In any other text, an address also begins behind `=`, a quote or another mark that no local part begins with.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple

from worker.addresses import common_text, folded_address

#: What stands in the place of an address.
MARK = "forgotten"

_REMEMBERED = 100_000  # addresses
_LONGEST_LOCAL = 512  # characters; the standard allows 64
_LETTER = r"\x80-\U0010ffff"
# Not in an address: spaces, dashes and quotes of typography, brackets of other scripts.
_BORDER = r"\s\x80-\x9f\u00ab\u00bb\u2000-\u200b\u200e-\u206f\u3000-\u303f\uff00-\uff0f"
_RUN = re.compile(rf"(?:(?![{_BORDER}])[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.{_LETTER}-])+")
_QUOTED = re.compile(r'"(?:"\\|[^"])*"(?!\\)')  # from its end to its beginning
_DOMAIN = re.compile(rf"\[[^\]\s]{{1,255}}\]|(?:(?![{_BORDER}])[A-Za-z0-9_.{_LETTER}-]){{1,255}}")
_AT = re.compile(r"@|%40")
_BEGINNINGS = re.compile(r"^[^A-Za-z0-9\x80-\U0010ffff]+|=+|\.\.+|%[0-9A-Fa-f]{2}")
_VERP = re.compile(
    r"(?:^|(?<=[-+=]))(?:bounces?|return|[0-9]+)[-+]|^[^+]*\+", re.IGNORECASE
)  # what comes before the recipient
_GUARD = re.compile(r"'[\s']*[=+\-@＝＋－＠\"]")  # noqa: RUF001 - against formulas, where spreadsheets read the file
_BATV = re.compile(r"prvs=[^=]+=", re.IGNORECASE)
_SRS = re.compile(
    r"(?:SRS0[=+-]|SRS1[=+-][^=]+=[^=]+==)[^=]+=[^=]+=(?P<domain>[^=]+)=(?P<local>.+)", re.IGNORECASE | re.DOTALL
)

IsWanted = Callable[[str], bool]

#: A salt, and the digest of an address with it.
Digest = tuple[str, str]


class Candidate(NamedTuple):
    """A place where an address may stand, and which one that would be, in the spelling of `canonical`."""

    start: int
    end: int
    address: str


def canonical(address: str) -> str:
    """Return the one spelling of an address for all that mean the same; without brackets around it, or quotes."""
    bare = address.strip()
    if bare.startswith("<") and bare.endswith(">"):
        bare = bare[1:-1].strip()
    local, at, domain = bare.rpartition("@")
    if len(local) > 1 and local.startswith('"') and local.endswith('"'):
        local = re.sub(r"\\(.)", r"\1", local[1:-1], flags=re.DOTALL)
    return folded_address(f"{local}{at}{domain}")


def digest(salt: str, address: str) -> str:
    """Return what proves that an address, by its canonical spelling, is the one that was forgotten."""
    return hashlib.sha256(f"{salt}{address}".encode("utf-8", "surrogatepass")).hexdigest()


def any_of(digests: AbstractSet[Digest]) -> IsWanted:
    """Return what tells whether an address is one of those that these digests are of."""

    @lru_cache(_REMEMBERED)
    def is_wanted(address: str) -> bool:
        return any(digest(salt, address) == known for salt, known in digests)

    return is_wanted


def needle(address: str) -> bytes:
    """Return bytes that stand in whatever holds an address in some form, once ASCII is lower-cased.

    They are of its domain: a local part can be quoted, with any of its characters escaped.
    """
    return common_text(canonical(address).rpartition("@")[2]).encode("utf-8", "surrogatepass")


def erased(text: str, is_wanted: IsWanted, *, is_address: bool = False) -> str:
    """Return a text with the mark in the place of each address that is wanted.

    `is_address` says that the text is that of a column that holds one address.
    """
    found = sorted(
        (each for each in candidates(text, is_address=is_address) if is_wanted(each.address)),
        key=lambda each: (each.start, -each.end),
    )
    parts, at = list[str](), 0
    for each in found:
        if each.start >= at:
            parts += (text[at : each.start], MARK)
            at = each.end
    return "".join((*parts, text[at:])) if found else text


def candidates(text: str, *, is_address: bool = False) -> Iterator[Candidate]:
    """Yield each place in a text where an address may stand."""
    if is_address:
        yield Candidate(0, len(text), canonical(text))
        if _GUARD.match(text):
            yield Candidate(0, len(text), canonical(text[1:]))
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end())
        if domain is None or not (name := domain[0].rstrip(".-")):
            continue
        end = domain.start() + len(name)
        start = _local_start(text, at.start())
        local = text[start : at.start()]
        if not local:
            continue
        yield from _embedded(local, start, name, end)
        if not is_address:
            begins = [0] if local.startswith('"') else [0, *(each.end() for each in _BEGINNINGS.finditer(local))]
            yield from (
                Candidate(start + begin, end, canonical(f"{local[begin:]}@{name}"))
                for begin in begins
                if begin < len(local)
            )


def _local_start(text: str, end: int) -> int:
    """Return where the longest local part begins that ends there."""
    before = text[max(0, end - _LONGEST_LOCAL) : end][::-1]
    found = _QUOTED.match(before) or _RUN.match(before)
    return end - (found.end() if found else 0)


def _embedded(local: str, start: int, domain: str, end: int) -> Iterator[Candidate]:
    """Yield the addresses that a local part carries."""
    if batv := _BATV.match(local):
        yield Candidate(start + batv.end(), end, canonical(f"{local[batv.end() :]}@{domain}"))
    for sign in "=%":
        user, found, host = local.rpartition(sign)
        if found and user and host:
            for begin in (0, *(each.end() for each in _VERP.finditer(user))):
                if begin < len(user):
                    yield Candidate(start + begin, start + len(local), canonical(f"{user[begin:]}@{host}"))
    if srs := _SRS.fullmatch(local):
        address = canonical(f"{srs['local']}@{srs['domain']}")
        yield Candidate(start + srs.start("domain"), start + len(local), address)
