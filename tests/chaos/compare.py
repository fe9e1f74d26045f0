"""What the files must say at the end: every recipient of every published event, once, in files that fit together.

Where the server forgot, or somebody cut a file short, what docs/delivery.md names may be otherwise, and nothing else:
rows that were cut off are missing, and what a worker noted as written twice stands twice.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import TYPES
from tests.chaos.fleet import PARTITION, Fleet
from tests.chaos.publishers import Published
from tests.chaos.reading import Sealed, sealed_files, unsealed_files
from worker.identity import known_id
from worker.stream.keys import COUNTERS, Keys

_SHOWN = 5
_TROUBLE = re.compile(r"^\S+ (?:ERROR|CRITICAL) .*|^Traceback .*|^\w+Error: .*", re.MULTILINE)
#: What a worker has to say where an operator did something, and what stands in `lost/` then.
_TOLD = re.compile(
    r" ERROR (?:server\.lost_its_tail|record\.put_back|file\.(?:short|cut|swapped|in_doubt|forgotten|unnamed|missing)"
    r"|entries\.twice|group\.lost|event\.ids_ahead|server\.clock)"
)
_NOTED = re.compile(r"entries\..*|twice.*|.*\.(?:short|doubt)(?:\.\d+)?\.json|(?:d|df|b)[.-].*")


class Found(msgspec.Struct):
    """What stands in the files, and what is wrong with it."""

    rows: Counter[str] = msgspec.field(default_factory=Counter)  # by recipient
    by_directory: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)  # by type and directory id
    sealed: int = 0
    recovered_rows: int = 0
    fenced: int = 0  # how often a worker found that it had been taken for dead
    losses: int = 0  # how often the server forgot something
    cut: int = 0  # recipients whose rows are missing, since somebody cut a file short
    doubled_and_named: int = 0  # recipients whose rows stand twice, as a worker noted
    ledger: Counter[str] = msgspec.field(default_factory=Counter)
    differences: list[str] = msgspec.field(default_factory=list)


def compare(fleet: Fleet, published: Iterable[Published], cut: set[str]) -> Found:
    """Read everything back, with the workers stopped and the server up; `cut`: recipients whose rows were cut off."""
    found = Found(losses=fleet.losses)
    is_disturbed = bool(fleet.losses or cut)
    for path in fleet.paths:
        _read_directory(path, found, is_disturbed=is_disturbed)
    named = {key for path in fleet.paths for key in _noted_as_twice(path)}
    expected: Counter[str] = Counter()
    events: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    allowed: set[str] = set()
    for event in published:
        addresses = list(event.addresses())
        expected.update(addresses)
        events[event.event_type] += 1
        rows[event.event_type] += event.recipients
        if f"{event.event_type} {event.key}" in named:
            allowed.update(addresses)
    found.cut = len(cut - found.rows.keys())
    found.doubled_and_named = sum(found.rows[rcpt] > 1 for rcpt in allowed)
    found.differences += _rows_differ(expected, found.rows, cut, allowed)
    found.differences += _ledger_differs(fleet, found, events, rows, is_disturbed=is_disturbed)
    for member in fleet.members:
        found.fenced += member.log().count("kind=Fenced")
        lines = _TROUBLE.findall(member.log())
        found.differences += [f"{member.name} logged: {line}" for line in lines if not _TOLD.search(line)]
    return found


def _read_directory(path: Path, found: Found, *, is_disturbed: bool) -> None:
    directory_id = known_id(path) or "none"
    for each in sealed_files(path):
        if not isinstance(each, Sealed):
            found.differences.append(each)
            continue
        found.sealed += 1
        found.rows.update(each.recipients)
        found.by_directory[each.manifest.type, directory_id] += len(each.recipients)
        if trouble := each.trouble():
            found.differences.append(f"{each.path}: {trouble}")
        strangers = [rcpt for rcpt in each.recipients if not rcpt.startswith(each.manifest.type)]
        if strangers:
            found.differences.append(f"{each.path}: {len(strangers)} rows of another type, such as {strangers[0]}")
    found.differences += [
        f"{file} is not sealed" for file in unsealed_files(path) if file.read_bytes().count(b"\n") > 1
    ]
    for tail in (path / "recovered").glob("*.tail"):
        found.recovered_rows += tail.read_bytes().count(b"\n")
    lost = [file for file in (path / "lost").glob("*") if not (is_disturbed and _NOTED.fullmatch(file.name))]
    found.differences += [f"{file} is in lost/" for file in lost]


def _noted_as_twice(path: Path) -> Iterator[str]:
    """Yield types and keys of the entries that stand twice, as workers of a directory noted."""
    for note in (path / "lost").glob("twice*.json"):
        yield from json.loads(note.read_bytes())["entries"]


def _rows_differ(expected: Counter[str], rows: Counter[str], cut: set[str], allowed: set[str]) -> Iterator[str]:
    doubled = {name: count for name, count in rows.items() if count > expected[name] > 0 and name not in allowed}
    for what, names in (
        ("lost", Counter({name: count for name, count in (expected - rows).items() if name not in cut})),
        ("doubled", Counter(doubled)),
        ("never published", Counter({name: count for name, count in rows.items() if not expected[name]})),
    ):
        if names:
            yield f"{len(names)} recipients {what}: {', '.join(sorted(names)[:_SHOWN])}"


def _ledger_differs(
    fleet: Fleet, found: Found, events: Counter[str], rows: Counter[str], *, is_disturbed: bool
) -> Iterator[str]:
    keys, client = Keys.of(PARTITION), fleet.server.client()
    ledger = {name.decode(): int(count) for name, count in client.hgetall(keys.ledger).items()}
    found.ledger = Counter({counter: sum(ledger.get(f"{name}:{counter}", 0) for name in TYPES) for counter in COUNTERS})
    for event_type in TYPES:
        wanted = {"published": events[event_type], "events": events[event_type], "rows": rows[event_type]}
        for counter in ("published", "events", "rows", "dead", "lost", "gap"):
            count, right = ledger.get(f"{event_type}:{counter}", 0), wanted.get(counter, 0)
            if count != right and not is_disturbed:
                yield f"ledger {event_type}:{counter} is {count}, expected {right}"
    yield from _directories_differ(found, ledger)
    if letters := client.xrange(keys.dead, count=_SHOWN):
        yield f"{client.xlen(keys.dead)} dead letters, such as {letters[0][1][b'error']!r} of {letters[0][1][b'id']!r}"
    client.close()


def _directories_differ(found: Found, ledger: dict[str, Any]) -> Iterator[str]:
    """Compare the rows of the directories with what was committed in them, unless rows were cut off."""
    for (event_type, directory_id), count in found.by_directory.items():
        told = ledger.get(f"{event_type}:rows:{directory_id}", 0)
        if told != count and not found.cut:
            yield f"ledger {event_type}:rows:{directory_id} is {told}, its files have {count}"
