"""What the files must say at the end: every recipient of every published event, once, in files that fit together."""

import re
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from schemas.events import TYPES
from tests.chaos.fleet import PARTITION, Fleet
from tests.chaos.publishers import Published
from tests.support.files import check_manifest, data_files
from worker.manifest import manifest_path
from worker.stream.keys import COUNTERS, Keys

_SHOWN = 5
_TROUBLE = re.compile(r"^\S+ (?:ERROR|CRITICAL) .*|^Traceback .*|^\w+Error: .*", re.MULTILINE)


class Found(msgspec.Struct):
    """What stands in the files, and what is wrong with it."""

    rows: Counter[str] = msgspec.field(default_factory=Counter)  # by recipient
    by_directory: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)  # by type and directory id
    sealed: int = 0
    recovered_rows: int = 0
    fenced: int = 0  # how often a worker found that it had been taken for dead
    ledger: Counter[str] = msgspec.field(default_factory=Counter)
    differences: list[str] = msgspec.field(default_factory=list)


def compare(fleet: Fleet, published: Iterable[Published]) -> Found:
    """Read everything back, with the workers stopped and the server up."""
    found = Found()
    for path in fleet.paths:
        _read_directory(path, found)
    expected: Counter[str] = Counter()
    events: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for event in published:
        expected.update(event.addresses())
        events[event.event_type] += 1
        rows[event.event_type] += event.recipients
    found.differences += _rows_differ(expected, found.rows)
    found.differences += _ledger_differs(fleet.server.client(), found, events, rows)
    for member in fleet.members:
        found.fenced += member.log().count("kind=Fenced")
        found.differences += [f"{member.name} logged: {line}" for line in _TROUBLE.findall(member.log())]
    return found


def _read_directory(path: Path, found: Found) -> None:
    directory_id = (path / ".directory-id").read_text("ascii").strip()
    for event_type in TYPES:
        for file in data_files(path, event_type):
            recipients = _recipients(file)
            found.rows.update(recipients)
            found.by_directory[event_type, directory_id] += len(recipients)
            found.differences += _file_differs(file, event_type, recipients)
            found.sealed += manifest_path(file).exists()
    for tail in (path / "recovered").glob("*.tail"):
        found.recovered_rows += tail.read_bytes().count(b"\n")
    found.differences += [f"{file} is in lost/" for file in (path / "lost").glob("*")]


def _recipients(file: Path) -> list[str]:
    """Return the recipients of a file; that its rows are whole is seen with its manifest."""
    header, *lines = file.read_text(encoding="utf-8").split("\n")
    column = header.split("\t").index("rcpt")
    return [line.split("\t")[column] for line in lines if line]


def _file_differs(file: Path, event_type: str, recipients: list[str]) -> Iterator[str]:
    strangers = [recipient for recipient in recipients if not recipient.startswith(event_type)]
    if strangers:
        yield f"{file}: {len(strangers)} rows of another type, such as {strangers[0]}"
    if not manifest_path(file).exists():
        if recipients:
            yield f"{file}: {len(recipients)} rows in a file that is not sealed"
        return
    try:
        check_manifest(file)
    except AssertionError as error:
        [*_, where] = traceback.extract_tb(error.__traceback__)
        yield f"{file}: does not fit its manifest: {str(error) or where.line}"


def _rows_differ(expected: Counter[str], rows: Counter[str]) -> Iterator[str]:
    for what, names in (
        ("lost", expected - rows),
        ("doubled", Counter({name: count for name, count in rows.items() if count > expected[name] > 0})),
        ("never published", Counter({name: count for name, count in rows.items() if not expected[name]})),
    ):
        if names:
            yield f"{len(names)} recipients {what}: {', '.join(sorted(names)[:_SHOWN])}"


def _ledger_differs(client: Any, found: Found, events: Counter[str], rows: Counter[str]) -> Iterator[str]:
    keys = Keys.of(PARTITION)
    ledger = {name.decode(): int(count) for name, count in client.hgetall(keys.ledger).items()}
    found.ledger = Counter({counter: sum(ledger[f"{name}:{counter}"] for name in TYPES) for counter in COUNTERS})
    for event_type in TYPES:
        wanted = {"published": events[event_type], "events": events[event_type], "rows": rows[event_type]}
        for counter in ("published", "events", "rows", "dead", "lost", "gap"):
            count, right = ledger[f"{event_type}:{counter}"], wanted.get(counter, 0)
            if count != right:
                yield f"ledger {event_type}:{counter} is {count}, expected {right}"
    for (event_type, directory_id), count in found.by_directory.items():
        told = ledger.get(f"{event_type}:rows:{directory_id}", 0)
        if told != count:
            yield f"ledger {event_type}:rows:{directory_id} is {told}, its files have {count}"
    if letters := client.xrange(keys.dead, count=_SHOWN):
        yield f"{client.xlen(keys.dead)} dead letters, such as {letters[0][1][b'error']!r} of {letters[0][1][b'id']!r}"
    client.close()
