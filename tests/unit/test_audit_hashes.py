"""Rows have the same hash whether an event makes them or a file holds them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import TYPES
from tests.unit.events import Batch, batches, render, row_settings
from worker.audit.deep import hashes
from worker.batch import TypeRenderer
from worker.settings import Format, RowSettings

LAYOUTS = [
    row_settings(layout=layout, separator=separator)
    for layout, separator in [(Format.TSV, "\t"), (Format.CSV, ";"), (Format.ORIGINAL, "\t"), (Format.JSONL, "\t")]
]


@pytest.mark.parametrize("text", ["", "a", "a" * 300, "ä", "a\U0010ffff", "\u00ff" * 40, "\x7f"])
def test_a_text_has_the_hash_of_its_bytes(text: str) -> None:
    assert hashes.of_texts(["row", text]) == hashes.of_lines([b"row", text.encode()])
    assert hashes.of_texts([text]) == hashes.of_lines([text.encode()])


@pytest.mark.parametrize("event_type", TYPES)
def test_the_rows_of_any_events_have_the_hashes_of_the_lines_that_a_worker_writes(event_type: str) -> None:
    @settings(max_examples=60, derandomize=True, database=None, deadline=None)
    @given(st.sampled_from(LAYOUTS), batches())
    def check(configured: RowSettings, batch: Batch) -> None:
        entries = batch.entries(event_type)
        lines = render(event_type, configured, entries).split(b"\n")[:-1]
        of_events = TypeRenderer(event_type, configured).lines(entries)
        assert hashes.of_texts(of_events.rows) == hashes.of_lines(lines)

    check()
