"""Mail that other plugins change in place or queue by themselves, through a real Haraka."""

from collections.abc import Mapping
from typing import Any

import pytest

from haraka.demo.messages import Message
from tests.haraka.side.haraka_side import Kind, Side

pytestmark = [pytest.mark.haraka, pytest.mark.usefixtures("npm_packages")]

HELO = "client.sender.test"


@pytest.fixture(scope="module")
def events(npm_packages: None, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    """Give each message's event, by the first word of its recipient."""
    kind = Kind(plugins=("queueing",), accounting={"headers": "X-Campaign"})
    with Side(tmp_path_factory.mktemp("others"), kind, has_plugin=True) as side:
        side.send(
            Message(f"{word}@sender.test", (f"{word}.old@blue.test",), HELO, ("X-Campaign: sent",))
            for word in ("usual", "verp", "own", "made", "noted")
        )
        side.wait_until_quiet()
        assert {rcpt for t in side.sink.record.transactions() for rcpt, _ in t.rcpts} >= {"verp.new@blue.test"}
        return {event["rcpts"][0]["rcpt"].partition(".")[0]: event for event in side.events()}


def test_an_envelope_that_a_plugin_rewrote_is_shown_as_the_destination_saw_it(
    events: Mapping[str, Mapping[str, Any]],
) -> None:
    assert events["verp"]["orig"] == "bounces+verp=sender.test@verp.test"
    assert events["verp"]["rcpts"] == [{"rcpt": "verp.new@blue.test"}]


def test_mail_that_a_plugin_queues_has_who_handed_it_in_and_its_headers(
    events: Mapping[str, Mapping[str, Any]],
) -> None:
    found = {word: (event.get("srcMta"), event["custom"]) for word, event in events.items()}
    assert found == {
        "usual": (HELO, {"x-campaign": "sent"}),
        "verp": (HELO, {"x-campaign": "sent"}),
        "own": (HELO, {"x-campaign": "sent"}),
        "made": (None, {"x-campaign": "made"}),
        "noted": (HELO, {"x-campaign": "made"}),
    }
