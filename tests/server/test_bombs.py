"""Files of an archive that are not what they seem: a few bytes that hold a line without an end, pipes, devices.

Whoever can write into an archive must not be able to take time or memory from who reads it.
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import zstandard

from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.errors import ExitCode
from worker.manifest import Compressed, decode, encode, manifest_path

MEGABYTE = 1 << 20
SECONDS = 200.0
READERS = (
    "find --domain example.com", "find --job-id JOB-1.1", "tail", "tail -n 100000 --json", "tail --where jobId=x",
    "audit", "audit --deep", "tidy", "status", "directory show",
)  # fmt: skip


#: Runs commands, a list of words each; prints for each how it ended, what it told, and what it took.
_RUN = """
import contextlib, io, json, sys, time
from worker.cli import run
for words in json.loads(sys.argv[1]):
    sys.argv = ["haraka-accounting", *words]
    out, err, begin = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run()
        out.flush()
    [peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    told = out.buffer.getvalue().decode()
    print(json.dumps([code, told, err.getvalue(), time.monotonic() - begin, int(peak) // 1024]), flush=True)
"""


class Done(NamedTuple):
    """What came of a command, and what it took."""

    code: int
    out: str
    err: str
    seconds: float
    peak_mb: int  # of the process until then


class Lab:
    """A directory in which a worker has sealed some files, and the command line beside it."""

    def __init__(self, valkey: RealValkey, path: Path) -> None:
        self.files, self.path, self.url = path / "files", path, valkey.url
        self.ini = path / "accounting_files.ini"
        self.ini.write_text(f"path={self.files}\narchiving=true\ntimezone=UTC\nkeep_recovered_days=1\n")
        publisher = Publisher(valkey.client(), PARTITION)
        worker = WorkerProcess(self.ini, self.url)
        worker.start()
        publisher.publish_some(9)
        wait_until(lambda: self.run("find --domain example.com")[0].out.count("\n") == 9, "rows are committed")
        worker.stop()

    def run(self, *commands: str) -> list[Done]:
        """Run commands one after another in a process of their own, which must not take longer than `SECONDS`."""
        lines = [self._words(command) for command in commands]
        done = subprocess.run(
            [sys.executable, "-c", _RUN, json.dumps(lines)], capture_output=True, timeout=SECONDS, check=True,
            cwd=Path.cwd(), text=True,
        )  # fmt: skip
        return [Done(*json.loads(line)) for line in done.stdout.splitlines()]

    def _words(self, command: str) -> list[str]:
        words = command.split()
        if words[0] == "verify":
            return words
        return [*words, "--config", str(self.ini), *(["--redis", self.url] if words[0] != "tidy" else [])]


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Lab:
    return Lab(valkey, tmp_path)


def pieces(size: int) -> Iterator[bytes]:
    yield from (b"x" * MEGABYTE for _ in range(size // MEGABYTE))


def zst(size: int, head: bytes, tail: bytes) -> bytes:
    frame = zstandard.ZstdCompressor(level=3).compressobj()
    parts = (head, *pieces(size), tail)
    return b"".join([*(frame.compress(part) for part in parts), frame.flush()])


def gz(size: int, head: bytes, tail: bytes) -> bytes:
    return b"".join(gzip.compress(part, 1) for part in (head, *pieces(size), tail))


def plant(lab: Lab, ending: str, size: int, said_bytes: int | None = None) -> Path:
    """Put a bomb in the place of a sealed file; its manifest is right unless it says another number of bytes."""
    [file] = sealed_files(lab.files, "bounce")
    manifest = decode(manifest_path(file).read_bytes(), manifest_path(file))
    head, *rows = file.read_bytes().splitlines(keepends=True)
    stored = {".zst": zst, ".gz": gz}[ending](size, head + rows[0], b"\n" + b"".join(rows[1:]))
    place = file.with_name(file.name + ending)
    place.write_bytes(stored)
    file.unlink()
    manifest_path(file).unlink()
    told = Compressed(name=place.name, bytes=len(stored), sha256=hashlib.sha256(stored).hexdigest())
    length = said_bytes or size + 1 + manifest.bytes
    changed = msgspec.structs.replace(manifest, compressed=told, bytes=length, rows=manifest.rows + 1)
    manifest_path(file).write_bytes(encode(changed))
    return place


@pytest.mark.parametrize(("ending", "size"), [(".zst", 1000 * MEGABYTE), (".gz", 200 * MEGABYTE)])
def test_one_line_of_a_gigabyte_in_a_few_bytes_takes_neither_time_nor_memory(lab: Lab, ending: str, size: int) -> None:
    bomb = plant(lab, ending, size)
    found, *_ = check(lab, *READERS, f"verify {lab.files}", f"verify {bomb}")
    assert found.out.count("\n") == 9  # those before and behind the line too
    assert f"{bomb.with_suffix('').name}" in found.err
    assert "1 lines are left out, which have more than 16,777,216 bytes, the first of them at byte" in found.err
    [deep] = lab.run("audit --deep")
    assert deep.code == ExitCode.FAILED
    assert bomb.with_suffix("").name in deep.out


@pytest.mark.parametrize("ending", [".zst", ".gz"])
def test_what_is_beyond_the_bytes_of_the_manifest_is_not_read(lab: Lab, ending: str) -> None:
    bomb = plant(lab, ending, 300 * MEGABYTE, said_bytes=5_000)
    *_, deep, verified = check(lab, *READERS, "audit --deep --json", f"verify {bomb}")
    assert any("more in it than its manifest says" in each["text"] for each in json.loads(deep.out)["findings"])
    assert verified.code == ExitCode.FAILED


def test_a_frame_that_asks_for_a_large_window_gets_none(lab: Lab) -> None:
    [file] = sealed_files(lab.files, "bounce")
    manifest = decode(manifest_path(file).read_bytes(), manifest_path(file))
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stored = frame.compress(file.read_bytes()) + frame.flush()
    place = file.with_name(file.name + ".zst")
    place.write_bytes(stored)
    file.unlink()
    manifest_path(file).unlink()
    told = Compressed(name=place.name, bytes=len(stored), sha256=hashlib.sha256(stored).hexdigest())
    manifest_path(file).write_bytes(encode(msgspec.structs.replace(manifest, compressed=told)))
    [done] = lab.run(f"verify {place}")
    assert (done.code, "requires too much memory" in done.out) == (ExitCode.FAILED, True)


def check(lab: Lab, *commands: str) -> list[Done]:
    """Run commands, none of which may be a bug, or take much of anything."""
    found = lab.run(*commands)
    for command, done in zip(commands, found, strict=True):
        assert done.code in set(ExitCode) - {ExitCode.BUG}, (command, done)
        assert "Traceback" not in done.err, (command, done)
        assert done.peak_mb < 300, (command, done)
    return found


def _each_file(path: Path) -> list[Path]:
    """Return the files of a directory, of one type of the three."""
    others = {path / "delivered", path / "deferred"}
    return sorted(file for file in path.rglob("*") if file.is_file() and others.isdisjoint(file.parents))


def test_a_pipe_in_the_place_of_any_file_is_told_and_never_waited_for(lab: Lab) -> None:
    """Each file of a directory in its turn: data, manifests, catalogue, series, journal, notes, identity, locks."""
    (lab.files / "lost").mkdir(exist_ok=True)
    (lab.files / "lost" / "b.json").write_text("{}\n")
    (lab.files / "accepted").mkdir(exist_ok=True)
    (lab.files / "accepted" / "1.json").write_text('{"at_ms": 1, "by": "me", "reason": "why", "findings": []}\n')
    (lab.files / "forgotten").mkdir(exist_ok=True)
    (lab.files / "forgotten" / "1.json").write_text(
        '{"at_ms": 1, "by": "me", "reason": "why", "salt": "", "digest": ""}'
    )
    (lab.files / "bounce" / ".catalogue.jsonl").write_text("")
    lab.run("tidy")
    for file in _each_file(lab.files):
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        check(
            lab,
            "find --domain example.com",
            "tail",
            "audit",
            "audit --deep",
            "tidy",
            f"verify {lab.files}",
            "forget a@b.test",
        )
        if file.is_fifo():  # not replaced meanwhile, as a note that is written anew
            file.unlink()
            file.write_bytes(content)


def test_a_worker_that_finds_a_pipe_in_the_place_of_a_file_says_so_and_does_not_wait(lab: Lab) -> None:
    for file in _each_file(lab.files):
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        worker = WorkerProcess(lab.ini, lab.url)
        worker.start(ready=False)
        wait_until(lambda: bool(worker.log()), f"a word of a worker about {file}")  # noqa: B023
        worker.kill()
        if file.is_fifo():
            file.unlink()
            file.write_bytes(content)
