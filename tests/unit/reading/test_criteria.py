"""Criteria hold for the rows they mean, and each of these rows holds the bytes that the search looks for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from tests.unit.events import ALL_COLUMNS, Batch, batches, render, row_settings
from worker.reading.criteria import Criteria, Criterion, Needle, Rule
from worker.reading.parse import delimited, json_line, layout_of
from worker.reading.search import lines_with
from worker.settings import Format


@pytest.mark.parametrize(
    ("rule", "value", "found", "not_found"),
    [
        (Rule.EXACT, "JOB-1.1", ["JOB-1.1"], ["job-1.1", "JOB-1.10", "XJOB-1.1", "-"]),
        (Rule.EXACT, "-", ["-"], ["--", " - "]),
        (Rule.ADDRESS, "Bob@Example.COM", ["bob@example.com", "BOB@EXAMPLE.COM"], ["abob@example.com", "-"]),
        (Rule.DOMAIN, "Example.com", ["a@example.COM", "a@b@example.com"], ["a@x.example.com", "example.com", "-"]),
        (Rule.DOMAIN, ".example.com", ["a@example.com", "a@x.Example.com"], ["a@badexample.com", "a@com"]),
        (
            Rule.ADDRESS,
            "JÜRGEN@Example.com",
            ["jürgen@example.com", "ju\u0308rgen@EXAMPLE.com"],
            ["jurgen@example.com"],
        ),
        (Rule.DOMAIN, "MÜNCHEN.de", ["a@münchen.de", "a@xn--mnchen-3ya.de"], ["a@munchen.de", "a@x.münchen.de"]),
        (Rule.DOMAIN, ".xn--mnchen-3ya.de", ["a@münchen.de", "a@x.mu\u0308nchen.de"], ["a@munchen.de"]),
    ],
)
def test_values_are_compared_by_their_rule(rule: Rule, value: str, found: list[str], not_found: list[str]) -> None:
    criterion = Criterion("rcpt", value, rule)
    columns = {"rcpt": "rcpt"}
    assert all(criterion.holds({"rcpt": text}, columns) for text in found)
    assert not any(criterion.holds({"rcpt": text}, columns) for text in not_found)
    for layout_format in Format:
        lines = "".join(f"{text}\n" for text in found).encode()
        assert list(lines_with(criterion.needle(layout_format), lines)) == lines.splitlines(keepends=True)


@settings(max_examples=150, deadline=None)
@given(batch=batches(), layout_format=st.sampled_from(Format), separator=st.sampled_from("\t;,"), data=st.data())
def test_looking_for_bytes_first_finds_what_taking_every_line_apart_finds(
    batch: Batch, layout_format: Format, separator: str, data: st.DataObject
) -> None:
    event_type = data.draw(st.sampled_from(TYPES))
    configured = row_settings(layout=layout_format, separator=separator)
    block = render(event_type, configured, batch.entries(event_type))
    layout = layout_of(layout_format, separator)
    parse = json_line if layout_format is Format.JSONL else delimited(layout, ALL_COLUMNS)
    every_line = list(lines_with(Needle(b"", folded=False), block))
    assert b"".join(every_line) == block
    column = data.draw(st.sampled_from(ALL_COLUMNS))
    value = data.draw(st.sampled_from([parse(line)[column] for line in every_line]))
    rule = data.draw(st.sampled_from(Rule))
    if rule is Rule.DOMAIN:
        value = data.draw(st.sampled_from(["", "."])) + value.rpartition("@")[2]
    other = value if rule is Rule.EXACT else data.draw(st.sampled_from([value, value.upper(), value.lower()]))
    criteria = Criteria((Criterion(column, other, rule),))
    columns = criteria.columns(ALL_COLUMNS)
    wanted = [line for line in every_line if criteria.hold(parse(line), columns)]
    narrowed = lines_with(criteria.needle(layout_format), block)
    assert wanted or other != value or rule is Rule.DOMAIN
    assert [line for line in narrowed if criteria.hold(parse(line), columns)] == wanted


def test_the_longest_bytes_are_looked_for() -> None:
    criteria = Criteria((Criterion("jobId", "A"), Criterion("rcpt", "Bob@x", Rule.ADDRESS), Criterion("vmta", "-")))
    assert criteria.needle(Format.TSV) == Needle(b"bob@x", folded=True)


def test_what_cannot_be_text_of_a_file_is_found_nowhere() -> None:
    criterion = Criterion("rcpt", "\udcff@example.com", Rule.ADDRESS)
    assert criterion.needle(Format.TSV).text == b"@example.com"
    assert not criterion.holds({"rcpt": "x@example.com"}, {"rcpt": "rcpt"})
