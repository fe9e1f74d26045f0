"""Addresses and domains as people mean them: one spelling for all that name the same. Pure.

The case of letters does not count, in any alphabet; nor does whether `ü` is one character or a letter and a mark (both
are of Unicode's normal forms), nor whether a label of the domain is written in its own letters or as `xn--…`. Letters
that are written out differently stay different: `ß` is not `ss`, and `ﬁ` is not `fi`.
"""

import re
import unicodedata

#: What an ASCII character must not be to stand for itself alone: Kelvin sign, long s, Greek question mark and varia
#: are taken for these.
_AMBIGUOUS = "ks;`"
_CERTAIN = re.compile(rf"[^\x80-\U0010ffff{_AMBIGUOUS}]+")
_BREAK = "\x80"
_ENCODED = "xn--"
_LONGEST_LABEL = 63  # what is longer is no label, and takes long to decode


def folded(text: str) -> str:
    """Return a text in which the case of letters does not count."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(map(_folded_character, apart)))


def folded_domain(domain: str) -> str:
    """Return a domain in small letters, labels in their own alphabet, without the dot of the root at its end."""
    whole = folded(domain).removesuffix(".")
    return ".".join(map(_decoded_label, whole.split("."))) if _ENCODED in whole else whole


def folded_address(address: str) -> str:
    """Return an address likewise: what stands behind its last @ is a domain."""
    local, at, domain = address.rpartition("@")
    return f"{folded(local)}@{folded_domain(domain)}" if at else folded(address)


def common_text(address: str) -> str:
    """Return a text that stands in whatever means the same as an address, or a domain, once ASCII is lower-cased.

    It is the longest there is. A label of the domain that is not ASCII can be written in two ways: nothing of it.
    """
    local, at, domain = address.rpartition("@")
    labels = (label if _is_plain(label) else _BREAK for label in folded(domain).removesuffix(".").split("."))
    text = _without_marked(f"{folded(local)}{at}{'.'.join(labels)}")
    return max(_CERTAIN.findall(text), key=len, default="")


def _folded_character(char: str) -> str:
    """Return a character for all of its cases; one that would become several stays one."""
    small = char.casefold()
    return small if len(small) == 1 else char.lower() if len(char.lower()) == 1 else char


def _decoded_label(label: str) -> str:
    """Return an encoded label in its own letters; as it stands where it says nothing that needs to be encoded."""
    if not label.startswith(_ENCODED) or len(label) > _LONGEST_LABEL:
        return label
    try:
        decoded = folded(label.removeprefix(_ENCODED).encode("ascii").decode("punycode"))
    except UnicodeError:
        return label
    return label if decoded.isascii() else decoded


def _is_plain(label: str) -> bool:
    return label.isascii() and not label.startswith(_ENCODED)


def _without_marked(text: str) -> str:
    """Return a text without the characters that a mark follows: the two may stand as one elsewhere."""
    if text.isascii():
        return text
    following = f"{text[1:]} "
    return "".join(_BREAK if unicodedata.combining(mark) else char for char, mark in zip(text, following, strict=True))
