"""The plugin in each minor version of Haraka that its README names: the same events, and Haraka as without it.

HARAKA_VERSIONS=all takes every version from 3.1.0 on; a list separated by commas, those.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from haraka.demo.expect import Queueing, Row, expect, squeeze
from tests.haraka.packages import USUAL, bare_clone, haraka_in, npm
from tests.haraka.scenarios import MESSAGES
from tests.haraka.side.cases import EVERY
from tests.haraka.side.haraka_side import Kind, Side
from tests.haraka.test_side_by_side import Outcome, carry_out

pytestmark = [pytest.mark.haraka, pytest.mark.timeout(3600)]

#: The oldest that is promised, and the newest of each minor version but the one that all other tests run.
TELLING: Final = ("3.1.0", "3.1.7", "3.2.1")
FIRST: Final = (3, 1, 0)
AT_ONCE: Final = 2
TROUBLE: Final = "its queue is away while one recipient is delivered and one bounces"


@dataclass(frozen=True)
class Run:
    """What mail of every kind, and a queue in trouble, left in one version."""

    events: tuple[Mapping[str, Any], ...]
    due: Counter[Row]
    trouble: Outcome


def chosen() -> list[str]:
    """Return what HARAKA_VERSIONS asks for."""
    asked = os.environ.get("HARAKA_VERSIONS", "")
    if asked != "all":
        return asked.split(",") if asked else list(TELLING)
    listed = subprocess.run(["npm", "view", "Haraka", "versions", "--json"], capture_output=True, check=True)
    return [name for name in json.loads(listed.stdout) if tuple(map(int, name.split("."))) >= FIRST and name != USUAL]


def carry_out_in(version: str, directory: Path, plugin: Path) -> Run:
    packages = directory / "packages"
    haraka_in(packages, version)
    npm("install", "--omit=optional", str(plugin), cwd=packages)
    kind = Kind(packages=packages / "node_modules", retry_seconds=(5, 5))
    with Side(directory / "scenarios", kind, has_plugin=True) as side:
        side.send(MESSAGES.values())
        side.wait_until_quiet()
        events, transactions = tuple(side.events()), side.sink.record.transactions()
    due = expect(MESSAGES.values(), transactions, Queueing(retries=2))
    assert due.is_final
    case = EVERY[TROUBLE]
    outcome = carry_out(directory / "trouble", type(case)(case.messages, Kind(packages=kind.packages), case.trouble))
    return Run(events, due.counter(), outcome)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Run]]]:
    plugin = bare_clone(tmp_path_factory.mktemp("checkout"))
    npm("ci", "--omit=dev", cwd=plugin)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            version: pool.submit(carry_out_in, version, tmp_path_factory.mktemp(version), plugin)
            for version in chosen()
        }


@pytest.fixture(params=chosen())
def run(request: pytest.FixtureRequest, runs: Mapping[str, Future[Run]]) -> Run:
    version: str = request.param
    return runs[version].result()


def test_every_answer_of_the_sink_is_one_event_that_says_the_same(run: Run) -> None:
    found = Counter(_row(event, rcpt) for event in run.events for rcpt in event["rcpts"])
    assert found - run.due == Counter()
    assert run.due - found == Counter()


def test_who_handed_a_message_in_and_where_it_went_stands_in_every_event(run: Run) -> None:
    hosts = {message.orig: message.helo for message in MESSAGES.values()}
    for event in run.events:
        if event.get("orig") in hosts:
            assert event["srcMta"] == hosts[event["orig"]]
        if "Tried all MXs" not in json.dumps(event):
            assert event["destIp"] == "127.0.0.1", event
            assert event["srcIp"] == "127.0.0.1", event


def test_haraka_does_the_same_without_it_where_its_queue_is_away(run: Run) -> None:
    assert run.trouble.subject == run.trouble.control


def _row(event: Mapping[str, Any], rcpt: Mapping[str, Any]) -> Row:
    said = {**event, **rcpt}
    orig = event.get("orig", "")
    return Row(event["type"], orig, rcpt["rcpt"], said.get("dsnStatus", "2.0.0"), squeeze(said.get("dsnMsg", "")))
