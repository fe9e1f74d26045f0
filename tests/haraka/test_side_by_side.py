"""Accounting never changes what Haraka does: with the plugin and without it, the same mail, bounce messages and exits.

Both get the same mail, while the same things happen to both, and are started again in the end. A few cases run by
default; SIDE_BY_SIDE=all runs every one, another text those whose names hold it.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from haraka.demo.messages import Message
from haraka.demo.waiting import WaitTimeoutError, wait_until
from tests.haraka.side.cases import EVERY, TELLING, Case
from tests.haraka.side.haraka_side import PATIENCE_SECONDS, Seen, Side
from tests.haraka.side.troubles import at_last_reply, small_disk

pytestmark = [pytest.mark.haraka, pytest.mark.timeout(3600)]

AT_ONCE = 4
#: Sent when everything is over: does Haraka still live?
AFTERWARDS = Message("afterwards@sender.test", ("accept.afterwards@blue.test",))
Told = Counter[tuple[str, str, str]]  # type, sender, recipient


@dataclass(frozen=True)
class Outcome:
    """What was seen of both, and what accounting says of the one that has it."""

    control: Seen
    subject: Seen
    events: Told
    log: str


def chosen() -> list[str]:
    """Return what SIDE_BY_SIDE asks for."""
    asked = os.environ.get("SIDE_BY_SIDE", "")
    return [name for name in EVERY if (asked in {name, "all"} or asked in name if asked else name in TELLING)]


def carry_out(directory: Path, case: Case) -> Outcome:
    """Let the control have its way first, then the subject; return when nothing happens any more."""
    control, _, _ = _run(directory / "control", case, has_plugin=False)
    subject, events, log = _run(directory / "subject", case, has_plugin=True, like=control)
    return Outcome(control, subject, events, log)


def _run(directory: Path, case: Case, *, has_plugin: bool, like: Seen | None = None) -> tuple[Seen, Told, str]:
    with ExitStack() as stack:
        if case.needs_small_disk:
            stack.enter_context(small_disk(directory / "haraka" / "queue"))
        side = stack.enter_context(Side(directory, case.kind, has_plugin=has_plugin))
        if case.trouble is not None:
            side.on_reply = at_last_reply(case.trouble, case.messages[0], side.haraka.queue)
        side.send(case.messages)
        side.wait_until_quiet()
        if side.haraka.exit_code is None:
            side.send([AFTERWARDS])
            side.wait_until_quiet()
        side.restart()
        side.wait_until_quiet()
        if like is not None:
            # It may be slower. What it never does is told by the comparison, with what it did.
            with suppress(WaitTimeoutError):
                wait_until(lambda: side.seen()[1:] == like[1:], "the same", PATIENCE_SECONDS / 6)
        side.stop()
        events = (
            Counter(
                (event["type"], event.get("orig", ""), rcpt["rcpt"])
                for event in side.events()
                for rcpt in event["rcpts"]
            )
            if has_plugin
            else Counter()
        )
        return side.seen(), events, side.haraka.log()


@pytest.fixture(scope="session")
def outcomes(npm_packages: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Outcome]]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(carry_out, tmp_path_factory.mktemp("side"), EVERY[name]) for name in chosen()}


@pytest.fixture(params=chosen())
def outcome(request: pytest.FixtureRequest, outcomes: Mapping[str, Future[Outcome]]) -> Outcome:
    name: str = request.param
    return outcomes[name].result()


def test_haraka_ends_where_it_ends_without_accounting_and_lives_where_it_lives(outcome: Outcome) -> None:
    assert outcome.subject.exits == outcome.control.exits
    assert outcome.subject.stops == outcome.control.stops


def test_destinations_and_senders_get_the_same_mail(outcome: Outcome) -> None:
    assert outcome.subject.answers - outcome.control.answers == Counter()
    assert outcome.control.answers - outcome.subject.answers == Counter()


def test_other_plugins_see_the_same_hooks(outcome: Outcome) -> None:
    assert outcome.subject.hooks - outcome.control.hooks == Counter()
    assert outcome.control.hooks - outcome.subject.hooks == Counter()


def test_the_same_mail_is_left_in_the_queue(outcome: Outcome) -> None:
    assert outcome.subject.left == outcome.control.left


def test_every_recipient_that_was_accepted_is_accounted_for(outcome: Outcome) -> None:
    accepted = _accepted(outcome.subject)
    delivered = Counter({what: count for what, count in outcome.events.items() if what[0] == "d"})
    if not outcome.subject.exits:
        assert delivered == accepted
        return
    # What it had not finished when it ended, Haraka has delivered again.
    assert delivered.keys() == accepted.keys()
    assert delivered - accepted == Counter()


def _accepted(seen: Seen) -> Told:
    return Counter(
        ("d", orig, rcpt)
        for orig, rcpts, verdict, _ in seen.answers.elements()
        for rcpt, said in rcpts
        if verdict and verdict[1].startswith("2") and said.startswith("2")
    )
