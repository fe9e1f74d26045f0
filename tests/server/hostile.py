"""Hostile text in every place that text comes from, and what must never be seen of it."""

import json
import os
import re
from pathlib import Path

import msgspec

from tests.server.broken import KEYS, LETTER, Lab
from tests.support.events import encode, make_event
from tests.support.sealed import seal
from worker.manifest import Manifest, decode, manifest_path
from worker.manifest import encode as encode_manifest

#: Markup of rich, a title of the terminal, blinking, a reset, C1, directions, lines of a log that nobody logged.
EVIL = "[/red][link=x]\x1b]0;owned\x07\x1b[5m\x1bc\x9b5m\u202e\u2066\u2028\x7f\r\nINFO forged=1\u3164\U000e0041{x}"
NAME = EVIL.replace("/", "|")  # of a file
BYTES = EVIL.encode() + b"\xff\xc0\xed\xa0\x80"

#: What the commands' own colours and bars are made of.
_OWN = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[hl]|[0-9]?[AKJ]|[0-9]*G)")
_FORGED = re.compile(r"^(?:INFO )?forged=1", re.MULTILINE)

#: A worker's line, and what may stand below it.
LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [a-z_.]+(?: \w+=(?:\"(?:[^\"\\]|\\.)*\"|[^\" =]+))*"
)


def troubles(shown: str, *, is_terminal: bool) -> list[str]:
    """Return what data did to an output."""
    if "\x1b[5m" in shown:
        return ["a blink"]
    plain = _OWN.sub("", shown.replace("\r\n", "\n").replace("\r", "")) if is_terminal else shown
    found = [repr(char) for char in sorted(set(plain)) if not char.isprintable() and char != "\n"]
    return [*found, *_FORGED.findall(plain), *(["a filler"] if "\u3164" in plain else [])]


def poison_server(lab: Lab) -> None:
    """Put hostile text next to what stands in each key, as whoever may write to the server can."""
    client = lab.client
    for field, stored in client.hgetall(KEYS.records).items():
        if not stored:  # the placeholder
            continue
        directory = field.split(b" ")[-1].decode()
        files = {event_type: {**state, "name": NAME} for event_type, state in json.loads(stored)["files"].items()}
        for owner in (EVIL, "[/red]"):
            client.hset(KEYS.records, f"{owner} {directory}", json.dumps({**json.loads(stored), "files": files}))
            client.hset(KEYS.owners, owner, f"7 {directory}")
        client.hset(KEYS.records, f"broken {EVIL}", BYTES)
    client.hset(KEYS.owners, "[/blue]", BYTES)
    client.hset(KEYS.ledger, mapping={f"delivered:rows:{EVIL}": 5, EVIL: BYTES, f"bounce:{EVIL}": BYTES})
    client.hset(KEYS.producers, mapping={EVIL: "5:1700000000000", "[/red]": BYTES})
    client.hset(KEYS.nodes, mapping={EVIL: json.dumps({"at": 1, "node": EVIL}), "[/red]": BYTES})
    client.hset(KEYS.directories, mapping={EVIL: f"9 {EVIL} 5 {EVIL} {EVIL}", "[/red]": BYTES})
    client.hset(KEYS.watch, mapping={EVIL: BYTES, f"loss:bounce:{EVIL}": json.dumps({"type": EVIL, "events": 1})})
    client.sadd(KEYS.wanted, EVIL)
    for key in KEYS.streams.values():
        client.xgroup_create(key, EVIL, "0")
        client.xreadgroup("accounting", EVIL, {key: ">"}, count=1)
        client.xadd(key, {EVIL: BYTES, "events": BYTES, "n": BYTES, "at": BYTES})
    poison_letters(lab)


def poison_letters(lab: Lab) -> None:
    first = int(LETTER.split("-")[0])
    fields = {"type": BYTES, "id": BYTES, "index": BYTES, "bytes": BYTES, "error": BYTES * 50, EVIL: BYTES}
    lab.client.xadd(KEYS.dead, fields, id=f"{first + 1}-0")
    event = make_event("bounce", 1, jobId=EVIL, mailFrom=EVIL)
    letter = {"type": "bounce", "id": "1-0", "index": 0, "bytes": encode([event])[1:-1], "error": EVIL}
    lab.client.xadd(KEYS.dead, letter, id=f"{first + 2}-0")


def poison_directory(path: Path) -> None:
    """Put files with hostile names, contents and manifests into a directory of accounting files."""
    archive = path / "bounce" / "archive"
    archive.mkdir(parents=True, exist_ok=True)
    events = [make_event("bounce", 1, jobId="JOB-1.1", custom={"subject": EVIL})]
    for name in (NAME, "b.1999-01-01-000000.tsv", os.fsdecode(b"\xff\x9b5m.tsv")):
        (archive / f"{name}.json").write_bytes(BYTES)
    sealed = seal(archive / "b.1999-01-02-000000.tsv", "bounce", events)
    beside = manifest_path(sealed)
    content = sealed.read_text().replace("mailbox", "\x1b[5m\u202e\x9b").encode()
    sealed.write_bytes(content)
    manifest = msgspec.structs.replace(
        decode(beside.read_bytes(), beside), writer=EVIL, reason=EVIL, columns=[EVIL], version=EVIL, bytes=1,
    )  # fmt: skip
    beside.write_bytes(encode_manifest(manifest))
    poison_rows(archive, manifest)
    for folder, name in (("series", f"{'0' * 16}.json"), ("series", NAME), ("lost", NAME), ("lost", "x.json"),
                         ("recovered", NAME), ("journal", NAME), ("accepted", "1.json")):  # fmt: skip
        (path / folder).mkdir(exist_ok=True)
        (path / folder / name).write_bytes(BYTES)
    (path / f".{NAME}.lock").write_bytes(BYTES)


def poison_rows(archive: Path, manifest: Manifest) -> None:
    """Seal a file whose rows somebody edited: no worker writes such values."""
    sealed = seal(archive / "b.1999-01-03-000000.tsv", "bounce", [make_event("bounce", 1)])
    head, row = sealed.read_text().splitlines()
    evil = EVIL.replace("\n", "").replace("\r", "").replace("\u2028", "")
    content = f"{head}\n{row.replace('mailbox', evil).replace('JOB-1.1', f'JOB-1.1{evil}')}\n{row}\n".encode()
    sealed.write_bytes(content)
    beside = manifest_path(sealed)
    found = decode(beside.read_bytes(), beside)
    beside.write_bytes(
        encode_manifest(msgspec.structs.replace(found, bytes=len(content), rows=2, directory=manifest.directory))
    )
