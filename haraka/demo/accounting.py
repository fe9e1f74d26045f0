"""The accounting side of the laboratory: the worker with its bundled server, and the files that it writes."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from haraka.demo.expect import Row, squeeze
from haraka.demo.process import Process

TAGS: Final = {"delivered": "d", "deferred": "df", "bounce": "b"}
COLUMNS: Final = "type,timeLogged,timeQueued,orig,rcpt,srcMta,srcIp,destIp,jobId,dsnStatus,dsnMsg,attempts"
READY: Final = "worker.ready"


@dataclass(frozen=True)
class Settings:
    """How the worker is set up; its files and its server's directory stand below `directory`."""

    directory: Path
    redis_port: int
    columns: str = COLUMNS  # what deferred and bounce have beside them is added
    main: Mapping[str, object] | None = None  # further keys of accounting_files.ini

    @property
    def path(self) -> Path:
        """Where the accounting files stand."""
        return self.directory / "accounting_files"

    @property
    def password_file(self) -> Path:
        """Where the bundled server's password stands, once it was started."""
        return self.directory / "valkey" / "password"

    def ini(self) -> str:
        """Return accounting_files.ini."""
        lines = [f"{key}={value}" for key, value in {"path": self.path, **(self.main or {})}.items()]
        lines += ["[fields]", f"delivered={self.columns}", f"deferred={self.columns},delay"]
        lines += [f"bounce={self.columns},bounceCat"]
        lines += ["[server]", f"directory={self.password_file.parent}", f"port={self.redis_port}"]
        return "\n".join(lines) + "\n"


class Worker:
    """`haraka-accounting work` with the bundled server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = settings.directory / "worker.log"
        self._process: Process | None = None

    def start(self) -> None:
        """Start it and return once it and its server are ready."""
        self.settings.directory.mkdir(parents=True, exist_ok=True)
        ini = self.settings.directory / "accounting_files.ini"
        ini.write_text(self.settings.ini(), encoding="utf-8")
        command = Path(sys.executable).with_name("haraka-accounting")
        self._process = process = Process("worker", (command, "work", "--config", ini, "--name", "demo-1"), self.log)
        try:
            process.wait_until(lambda: READY in process.logged(), f"“{READY}”")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int:
        """Let it finish, seal its files and stop its server; return its exit code."""
        process, self._process = self._process, None
        return process.stop() if process is not None else 0

    def check(self) -> None:
        """Raise ProcessDiedError where it should run and does not."""
        if self._process is not None:
            self._process.check()

    def backlog(self) -> int:
        """Return how many stream entries are not in files and acknowledged yet."""
        password = self.settings.password_file.read_text().strip()
        with redis.Redis(port=self.settings.redis_port, password=password, socket_timeout=5.0) as server:
            return sum(_unfinished(server, f"{{haraka:accounting}}:{name}") for name in TAGS)

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield every complete row of every accounting file, open, sealed or archived."""
        for file in self.files():
            yield from rows_of(file)

    def count_rows(self) -> int:
        """Return how many rows there are; for showing progress, as files move to the archive while it counts."""
        count = 0
        for file in self.files():
            with suppress(FileNotFoundError):
                count += max(0, file.read_bytes().count(b"\n") - 1)
        return count

    def files(self) -> list[Path]:
        """Return all accounting files, the oldest of each type first."""
        return sorted(file for file in self.settings.path.rglob("*.tsv") if _tag_of(file) in TAGS.values())


def rows_of(file: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of one file by column; a last line without its end is still being written."""
    text = file.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].split("\n")[:-1]
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    header = next(reader, [])
    for row in reader:
        yield dict(zip(header, row, strict=True))


def compared(row: Mapping[str, str]) -> Row:
    """Return what is compared of a row."""
    orig = "" if row["orig"] == "-" else row["orig"]
    return Row(row["type"], orig, row["rcpt"], row["dsnStatus"], squeeze(row["dsnMsg"]))


def counter(rows: Iterator[dict[str, str]]) -> Counter[Row]:
    """Return the rows as a multiset."""
    return Counter(map(compared, rows))


def manifest_of(file: Path) -> dict[str, Any] | None:
    """Return the manifest beside a sealed file."""
    path = file.with_name(f"{file.name}.json")
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def _tag_of(file: Path) -> str:
    return file.name.partition(".")[0]


def _unfinished(server: redis.Redis, stream: str) -> int:
    groups = server.xinfo_groups(stream)
    return sum(int(group["pending"]) + int(group["lag"] or 0) for group in groups)
