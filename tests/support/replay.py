"""What tests of replay share: a server with a publisher, the command line beside it, and digests of what it wrote."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from schemas.events import TYPES
from tests.server.test_command_line import run
from tests.support.files import data_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.stream.keys import Keys

KEYS = Keys.of(PARTITION)
INI = "archiving=true\nmax_size=0.003\ntimezone=Europe/Berlin\n[redis]\nbatch_entries=5\n"


class Lab:
    """A server with a publisher, and the command line beside it."""

    def __init__(self, valkey: RealValkey, tmp_path: Path) -> None:
        self.path = tmp_path
        self.valkey = valkey
        self.client = valkey.client()
        self.publisher = Publisher(self.client, PARTITION)
        self.ini = tmp_path / "accounting_files.ini"
        self.configure(INI)

    def configure(self, text: str) -> None:
        self.ini.write_text(f"path={self.path}/files\n{text}")

    def command(self, *arguments: str) -> Any:
        return run("replay", "--config", str(self.ini), "--redis", self.valkey.url, *arguments, cwd=self.path)

    def replay(self, *arguments: str, into: str = "out", start: str = "-") -> dict[str, Any]:
        """Replay, and return what the command says of it."""
        done = self.command("--from", start, "--into", into, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def work(self, rows: int) -> None:
        """Let a worker commit so many rows more, and stop it."""
        expected = self.committed() + rows
        worker = WorkerProcess(self.ini, self.valkey.url)
        worker.start()
        try:
            wait_until(lambda: self.committed() >= expected, "rows")
            assert worker.stop() == 0
        finally:
            worker.kill()

    def committed(self) -> int:
        """Return how many rows workers have committed so far."""
        return sum(int(self.client.hget(KEYS.ledger, f"{name}:rows") or 0) for name in TYPES)

    def ids(self, event_type: str) -> list[str]:
        return [entry_id.decode() for entry_id, _ in self.client.xrange(KEYS.streams[event_type])]


def sorted_rows(path: Path, event_type: str) -> list[bytes]:
    """Return the rows of a type without the header lines, sorted."""
    return sorted(row for file in data_files(path, event_type) for row in file.read_bytes().splitlines(True)[1:])


def digests(path: Path) -> dict[str, str]:
    """Return the digest of everything below a directory, by its place in it."""
    return {
        str(file.relative_to(path)): sha256(file.read_bytes()).hexdigest() for file in path.rglob("*") if file.is_file()
    }
