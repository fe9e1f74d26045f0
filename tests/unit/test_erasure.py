"""An address is found in every form in which it can stand, and never inside a longer one; rows stay rows."""

import csv
import json
import time
from datetime import UTC
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import DEFAULT_COLUMNS
from tests.support.events import encode, make_event
from worker.batch import TypeRenderer
from worker.erasure.lines import Eraser
from worker.erasure.matching import MARK, any_of, candidates, canonical, digest, erased, needle
from worker.reading.parse import delimited, json_line, layout_of
from worker.settings import Format, RowSettings

ANN = "ann@example.org"
FORMATS = [(Format.TSV, "\t"), (Format.CSV, ","), (Format.CSV, "@"), (Format.JSONL, "\t"), (Format.ORIGINAL, ",")]
LOCALS = st.from_regex(r"[a-z0-9!#$&*+?^_~-]{1,8}(\.[a-z0-9]{1,4})?", fullmatch=True) | st.sampled_from(
    ['"a b"', '"a\\"b"', '"a,b"', '"a@b"', "jürgen", "иван", "o'neil"]
)
DOMAINS = st.from_regex(r"[a-z0-9]{1,6}\.(org|example)", fullmatch=True) | st.sampled_from(
    ["münchen.example", "xn--mnchen-3ya.example", "почта.рф", "[192.0.2.1]"]
)
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS)


def without(text: str, address: str = ANN, *, is_address: bool = False) -> str:
    wanted = canonical(address)
    return erased(text, lambda each: each == wanted, is_address=is_address)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (ANN, "ANN@Example.ORG"),
        (ANN, "<ann@example.org>"),
        (ANN, '"ann"@example.org'),
        (ANN, "ann@example.org."),
        ('"ann smith"@example.org', '"Ann Smith"@example.org'),
        ('"ann smith"@example.org', r'"ann\ smith"@example.org'),
        ("o'neil@example.org", "O'Neil@example.org"),
        ("jürgen@münchen.example", "JU\u0308RGEN@XN--MNCHEN-3YA.example"),
        ("иван@почта.рф", "ИВАН@xn--80a1acny.xn--p1ai"),
        ("ann@[192.0.2.1]", "Ann@[192.0.2.1]"),
    ],
)
def test_every_spelling_is_the_address_alone_and_in_a_text(address: str, text: str) -> None:
    assert without(text, address, is_address=True) == MARK
    assert needle(address) in text.lower().encode()
    assert MARK in without(f"550 5.1.1 user unknown: {text}", address)
    assert without(f"550 <{text.strip('<>')}>: no", address) in {f"550 <{MARK}>: no", f"550 <{MARK}.>: no"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bounce+ann=example.org@list.example", f"bounce+{MARK}@list.example"),
        ("list-bounces+ann=EXAMPLE.org@list.example", f"list-bounces+{MARK}@list.example"),
        ("list-return-12-ann=example.org@list.example", f"list-return-12-{MARK}@list.example"),
        ("bounces-ann=example.org@list.example", f"bounces-{MARK}@list.example"),
        ("b+17+ann=example.org@list.example", f"b+17+{MARK}@list.example"),
        ("ann=example.org@list.example", f"{MARK}@list.example"),
        ("ann%example.org@relay.example", f"{MARK}@relay.example"),
        ("prvs=12ab34=ann@example.org", f"prvs=12ab34={MARK}"),
        ("SRS0=HHH=TT=example.org=ann@relay.example", f"SRS0=HHH=TT={MARK}@relay.example"),
        ("SRS1=H=one.example==G=TT=example.org=ann@two.example", f"SRS1=H=one.example==G=TT={MARK}@two.example"),
    ],
)  # fmt: skip
def test_a_sender_that_carries_the_address_keeps_the_rest(text: str, expected: str) -> None:
    assert without(text, is_address=True) == expected
    assert without(f"from {text} x") == f"from {expected} x"


@pytest.mark.parametrize(
    "text",
    [
        "rcpt=ann@example.org", "'ann@example.org'", "`ann@example.org'", "{ann@example.org}", "/ann@example.org/",
        "mailto:ann@example.org;x", "“ann@example.org”", "see...ann@example.org...", "(ann@example.org)",
        "?to=ann%40example.org&x", "email%3Dann%40example.org", "ann@example.org's", "<@a,@b:ann@example.org>",
        "rfc822;ann@example.org", "*ann@example.org*", "|ann@example.org", "«ann@example.org»",
    ],
)  # fmt: skip
def test_the_address_is_found_inside_a_text(text: str) -> None:
    found = without(text)
    assert MARK in found
    assert "ann" not in found.replace(MARK, "")
    assert needle(ANN) in text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "joann@example.org", "jo-ann@example.org", "jo.ann@example.org", "jo_ann@example.org", "o'ann@example.org",
        "ann@example.org.evil.example", "ann@example.organisation", "ann@sub.example.org", "ann+x@example.org",
        "x+ann@example.org", "annä@example.org", "äann@example.org", "ann@example.org-x.example", "ann@example.orgä",
        "bounce+jo-ann=example.org@list.example", "bounce+joann=example.org@list.example", "ann@example", "ann",
        "bounce+ann=example.org.evil.example@list.example", '"x ann"@example.org', "ann\u0308@example.org",
    ],
)  # fmt: skip
def test_a_longer_address_is_another_one(text: str) -> None:
    for shown in (text, f"<{text}>", f"550 {text} unknown"):
        assert without(shown) == shown
    assert without(text, is_address=True) == text


@pytest.mark.parametrize("address", ["+ann@example.org", "=ann@example.org", '"ann smith"@example.org', "-a@b.example"])
def test_a_guard_against_formulas_is_not_part_of_an_address(address: str) -> None:
    assert without(f"'{address}", address, is_address=True) == MARK
    assert without("'ann@example.org", is_address=True) == "'ann@example.org"  # a letter of the local part


def test_a_column_that_holds_an_address_holds_no_text_around_it() -> None:
    assert without("x=ann@example.org", is_address=True) == "x=ann@example.org"


@given(ADDRESSES, ADDRESSES)
def test_of_two_addresses_only_the_one_that_is_meant_is_taken_out(one: str, other: str) -> None:
    if canonical(one) == canonical(other):
        return
    assert without(other, one, is_address=True) == other
    assert without(f"<{one}> and <{other}>", one).endswith(f"and <{other}>")
    assert without(f"<{one}> and <{other}>", one).startswith(f"<{MARK}> and ")


@given(ADDRESSES, st.lists(ADDRESSES | st.text(max_size=30), min_size=1, max_size=4), st.sampled_from(FORMATS))
def test_a_row_stays_a_row_and_only_the_cells_with_the_address_change(
    address: str, values: list[str], layout: tuple[Format, str]
) -> None:
    columns = ("rcpt", "dsnMsg", "orig", "custom_to")
    shown = RowSettings(format=layout[0], separator=layout[1], timezone=UTC, columns={"bounce": columns})
    event = make_event(
        "bounce", 1, rcpts=[{"rcpt": address, "dsnStatus": "5.1.1", "dsnMsg": " ".join([*values, f"<{address}>"])}],
        orig=values[0] or "-", custom={"to": values[-1]},
    )  # fmt: skip
    try:
        [row] = TypeRenderer("bounce", shown).lines([(b"1-0", [b"events", encode([event])])]).rows
    except UnicodeEncodeError:
        return
    wanted = canonical(address)
    eraser = Eraser(*layout, columns, lambda each: each == wanted, needle(address))
    line = row.encode() + b"\n"
    found = eraser.line(line)
    parse = json_line if layout[0] is Format.JSONL else delimited(layout_of(*layout), columns)
    before, after = parse(line), parse(found)
    assert after["rcpt"] == MARK
    assert not any(each.address == wanted for each in candidates(after["dsnMsg"]))
    for column in columns:
        is_address = column in {"rcpt", "orig"}
        assert after[column] == erased(before[column], lambda each: each == wanted, is_address=is_address)
    assert eraser.line(found) is found
    assert eraser.line(row.encode()) + b"\n" == found


def test_quoted_cells_are_read_back_by_others() -> None:
    wanted = canonical(ANN)
    line = b'a,"say ""hi"", ann@example.org",,"""ann""@example.org",x\n'
    found = Eraser(Format.CSV, ",", ("rcpt", "dsnMsg", "vmta", "orig", "jobId"), lambda each: each == wanted).line(line)
    assert next(csv.reader(StringIO(found.decode()))) == ["a", f'say "hi", {MARK}', "", MARK, "x"]


def test_a_line_of_json_keeps_its_numbers_and_its_order() -> None:
    wanted = canonical(ANN)
    line = b'{"rcpt":"ann@example.org","delay":1.50,"vmta":null,"jobId":"J"}\n'
    found = Eraser(Format.JSONL, "\t", DEFAULT_COLUMNS["deferred"], lambda each: each == wanted).line(line)
    assert found == b'{"rcpt":"forgotten","delay":1.50,"vmta":null,"jobId":"J"}\n'
    assert json.loads(found)["delay"] == 1.5


@pytest.mark.parametrize("line", [b"ann@example.org\tx\n", b"{not json ann@example.org\n", b"\xff ann@example.org"])
def test_a_line_of_another_shape_is_a_text(line: bytes) -> None:
    for layout in FORMATS:
        found = Eraser(*layout, ("rcpt", "orig", "jobId"), lambda each: each == ANN).line(line)
        assert found == line.replace(ANN.encode(), MARK.encode())


def test_a_digest_proves_the_address_in_any_spelling_and_no_other() -> None:
    known = any_of(frozenset({("salt", digest("salt", canonical(ANN)))}))
    assert known(canonical('"Ann"@EXAMPLE.org'))
    assert not known(canonical("joann@example.org"))
    assert digest("salt", ANN) != digest("other", ANN)


@pytest.mark.parametrize("text", ["@" * 8192, '"@' * 4096, "a=@b" * 2048, "a-1-" * 2048 + "=b@x", "a" * 8192 + "@b"])
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    without(text)
    without(text, is_address=True)
    assert time.process_time() - start < 1
