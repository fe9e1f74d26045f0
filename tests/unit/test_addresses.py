"""Addresses and domains that name the same are found by any of their spellings, and no others are."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import encode, make_event
from worker.addresses import common_text, folded, folded_address, folded_domain
from worker.decode import Decoder
from worker.replay.recipients import only_domains

SAME = [
    ("JÜRGEN@example.com", "jürgen@EXAMPLE.com"),
    ("ju\u0308rgen@example.com", "JÜRGEN@example.com"),
    ("jürgen@münchen.de", "Jürgen@XN--MNCHEN-3YA.de"),
    ("a@MÜNCHEN.de", "A@mu\u0308nchen.DE"),
    ("иван@почта.рф", "ИВАН@xn--80a1acny.xn--p1ai"),
    ("ΟΔΟΣ@x.gr", "οδος@x.gr"),
    ("οδοσ@x.gr", "οδος@x.gr"),
    ("STRAẞE@x.de", "straße@x.de"),
    ("İ@x", "i\u0307@x"),
    ("a@example.com.", "a@example.com"),
    ("a@b@example.com", "A@B@Example.com"),
    ("POSTMASTER", "postmaster"),
    ("用户@例子.公司", "用户@xn--fsqu00a.xn--55qx5d"),
]
DIFFERENT = [
    ("strasse@x.de", "straße@x.de"),
    ("jurgen@x.de", "jürgen@x.de"),
    ("ﬁn@x", "fin@x"),
    ("ı@x", "i@x"),  # noqa: RUF001 - a letter of its own
    ("a@example.com", "a@example.com.de"),
    ("a@xn--mnchen-3ya.de", "a@munchen.de"),
    ("xn--mnchen-3ya@x.de", "münchen@x.de"),  # a local part is no label
    ("a@xn--abc-", "a@abc"),  # says nothing that needs to be encoded
]


def stands_in(text: str, other: str) -> bool:
    return text.encode("utf-8", "surrogateescape") in other.encode("utf-8", "surrogateescape").lower()


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_address_are_the_same_and_each_holds_what_is_looked_for(one: str, other: str) -> None:
    assert folded_address(one) == folded_address(other)
    assert stands_in(common_text(one), other)
    assert stands_in(common_text(other), one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_addresses_are_different(one: str, other: str) -> None:
    assert folded_address(one) != folded_address(other)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("Bob@Example.com", "bob@example.com"),
        ("JÜRGEN@example.com", "rgen@example.com"),
        ("jürgen@münchen.example", ".example"),
        ("a@xn--mnchen-3ya.de", ".de"),
        ("info@kiss.example", ".example"),
        ("ü", ""),
        ("\udcff@example.com", "@example.com"),
    ],
)
def test_the_longest_text_that_stands_in_all_spellings_is_looked_for(address: str, text: str) -> None:
    assert common_text(address) == text


def test_no_character_of_unicode_breaks_that_rule() -> None:
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        others = {char.upper(), char.lower(), char.casefold(), char.title()}
        others |= {unicodedata.normalize(form, each) for form in ("NFC", "NFD") for each in (char, *others)} - {char}
        for other in others - {char}:
            if folded(f"x{other}y") == folded(f"x{char}y"):
                assert stands_in(common_text(f"x{other}y"), f"x{char}y"), (char, other)
                assert stands_in(common_text(f"x{char}y"), f"x{other}y"), (char, other)


@given(st.text(max_size=30), st.text(max_size=30))
def test_folding_twice_is_folding_once_and_any_text_has_a_common_text(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    assert folded_address(folded_address(address)) == folded_address(address)
    assert stands_in(common_text(address), address) or not address.isascii()


@pytest.mark.parametrize("label", ["xn--", "xn--\xff", "xn--99999999999", "xn--" + "a" * 10_000])
def test_what_is_no_label_stays_as_it_is(label: str) -> None:
    assert folded_domain(label) == folded(label)


def test_a_replay_keeps_recipients_of_a_domain_in_any_spelling() -> None:
    rcpts = [{"rcpt": each} for each in ("a@münchen.de", "b@XN--MNCHEN-3YA.de", "c@x.münchen.de", "d@munchen.de")]
    event = make_event("delivered", 1, rcpts=rcpts)
    decoded = Decoder("delivered", ["rcpt"]).decode([(b"1-0", [b"events", encode([event])])])
    [[kept]] = only_domains(["MÜNCHEN.de"])(decoded).events
    assert [each.rcpt for each in kept.rcpts] == ["a@münchen.de", "b@XN--MNCHEN-3YA.de"]
