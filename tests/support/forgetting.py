"""A site with an address to be forgotten: a directory, a server, real workers, and the command line in this process."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from schemas.events import TYPES
from tests.support.events import make_event
from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.cli import cli
from worker.errors import ExitCode
from worker.inventory import contents

NOBODY = "redis://127.0.0.1:1/0"
ANN = "ann@example.org"
OTHERS = ("joann@example.org", "ann@example.org.evil.example")
COLUMNS = "type,timeLogged,rcpt,orig,jobId,dsnStatus,dsnMsg,eventId,custom_to"
INI = """archiving=true
timezone=UTC
format={layout}
max_size=0.001
[fields]
delivered={columns}
deferred={columns}
bounce={columns}
[redis]
batch_entries=5
"""


class Site:
    """A directory, a server, and events of which some name the address."""

    def __init__(self, valkey: RealValkey, path: Path, layout: str = "tsv") -> None:
        self.path = path
        self.files = path / "files"
        self.url = valkey.url
        self.client = valkey.client()
        self.publisher = Publisher(self.client, PARTITION)
        self.ini = path / "accounting_files.ini"
        self.ini.write_text(f"path={self.files}\n{INI.format(layout=layout, columns=COLUMNS)}")
        self.number = 0

    def worker(self) -> WorkerProcess:
        worker = WorkerProcess(self.ini, self.url)
        worker.start()
        return worker

    def write(self) -> None:
        """Let a worker write all that was published, and stop."""
        worker = self.worker()
        wait_until(self.is_drained, "all rows are committed")
        assert worker.stop() == 0

    def is_drained(self) -> bool:
        groups = [self.client.xinfo_groups(f"{{{PARTITION}}}:{name}")[0] for name in TYPES]
        return all(each["lag"] == each["pending"] == 0 for each in groups)

    def publish(self, event_type: str, rcpt: str, message: str = "ok", **extra: Any) -> None:
        self.number += 1
        rcpts = [{"rcpt": rcpt, "dsnStatus": "2.0.0", "dsnMsg": message}]
        told: dict[str, Any] = {"dsnMsg": message} if event_type == "delivered" else {}
        self.publisher.publish({event_type: [make_event(event_type, self.number, rcpts=rcpts, **told, **extra)]})

    def publish_all(self) -> int:
        """Publish events of each type, and return in how many rows the address stands."""
        for event_type in TYPES:
            self.publish(event_type, "Ann@Example.org", orig="bounce+ann=example.org@list.example")
            self.publish(event_type, "bob@example.org", "550 <ann@example.org>: see joann@example.org")
            self.publish(event_type, "bob@example.org", custom={"to": '"ann"@EXAMPLE.org, x'})
            for other in OTHERS:
                self.publish(event_type, other)
        self.publisher.publish_some(30)
        return 9

    def command(self, *arguments: str, url: str | None = None) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(cli, [*arguments, "--config", str(self.ini), "--redis", url or self.url])

    def tidy(self) -> bool:
        done = CliRunner().invoke(cli, ["tidy", "--config", str(self.ini)])
        assert done.exit_code == 0, done.output
        return True

    def verify(self) -> int:
        return CliRunner().invoke(cli, ["verify", str(self.files)]).exit_code

    def forget(
        self, *arguments: str, code: int = ExitCode.FAILED, address: str = ANN
    ) -> dict[str, list[dict[str, Any]]]:
        """Return what `forget` tells, by kind."""
        done = self.command("forget", ANN, *arguments, "--json")
        assert done.exit_code == code, done.output
        by_kind: dict[str, list[dict[str, Any]]] = {}
        for each in json.loads(done.stdout)["standing"]:
            by_kind.setdefault(each["kind"], []).append(each)
        return by_kind

    def remove(self, *arguments: str) -> dict[str, list[dict[str, Any]]]:
        return self.forget("--remove", "--reason", "request 17", *arguments)

    def sealed(self) -> list[Path]:
        return [file for event_type in TYPES for file in sealed_files(self.files, event_type)]

    def found(self, address: str) -> int:
        """Return how many rows `find` shows of a recipient."""
        return len(self.command("find", "--rcpt", address, "--json").stdout.splitlines())

    def audit_is_clean(self, *arguments: str) -> bool:
        done = self.command("audit", *arguments)
        assert done.exit_code == 0, done.output
        return True

    def notes(self) -> Iterator[Path]:
        return (self.files / "forgotten").glob("*.json")

    def plain(self) -> Iterator[bytes]:
        """Yield what stands in every file below the directory, decompressed."""
        for file in self.files.rglob("*"):
            if file.is_file():
                with contents(file) as content:
                    yield content.read()


def holds_ann(content: bytes) -> bool:
    return re.search(rb"(?<!jo)ann\W?[@=]example\.org(?!\.evil)", content, re.IGNORECASE) is not None


def counts(found: list[dict[str, Any]]) -> int:
    return sum(each["count"] for each in found)
