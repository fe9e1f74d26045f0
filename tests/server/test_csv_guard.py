"""`csv_guard` through the life of files: switched on and off between two starts, found, verified, audited, replayed."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.events import TYPES
from tests.server.test_command_line import run
from tests.support.events import make_event
from tests.support.files import sealed_files
from tests.support.publisher import Publisher
from tests.support.sealed import compress
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from tests.support.workers import PARTITION
from worker.manifest import decode, manifest_path

EVIL = "=cmd|'/C calc'!A0"
RCPT = "+1+cmd@example.com"


class Lab:
    """A directory whose ini changes, and the command line beside it."""

    def __init__(self, valkey: RealValkey, path: Path) -> None:
        self.path, self.files, self.url = path, path / "files", valkey.url
        self.publisher = Publisher(valkey.client(), PARTITION)
        self.ini = path / "accounting_files.ini"
        self._number = 0

    def configure(self, layout: str, guard: str) -> None:
        self.ini.write_text(f"path={self.files}\nformat={layout}\ncsv_guard={guard}\ntimezone=UTC\narchiving=true\n")

    def write(self, *, kill: bool = False) -> None:
        """Let a worker write rows that look like formulas; it stops, or leaves its files open."""
        worker = WorkerProcess(self.ini, self.url)
        worker.start()
        for event_type in TYPES:
            self._number += 1
            event: dict[str, Any] = make_event(event_type, self._number, custom={"subject": EVIL})
            for rcpt in event["rcpts"]:
                rcpt["rcpt"] = RCPT
                if event_type != "delivered":
                    rcpt["dsnMsg"] = f"{EVIL} {self._number}"
            self.publisher.publish({event_type: [event]})
        wait_until(lambda: len(self.find()) == self._number, "rows are committed")
        worker.kill() if kill else worker.stop()

    def find(self) -> list[dict[str, str]]:
        found = self.command("find", "--rcpt", RCPT, "--json").stdout
        return [json.loads(line)["row"] for line in found.splitlines()]

    def command(self, command: str, *arguments: str) -> Any:
        return run(command, "--config", str(self.ini), "--redis", self.url, *arguments, cwd=self.path)

    def check(self) -> None:
        """Every command agrees on rows and files, whatever they are written in."""
        rows = self.find()
        assert len(rows) == self._number
        assert {row["rcpt"] for row in rows} == {RCPT}
        assert all(row["dsnMsg"].startswith(EVIL) for row in rows if row["type"] != "d")
        deep = self.command("audit", "--deep", "--json")
        assert deep.returncode == 0, deep.stdout
        verified = run("verify", str(self.files), cwd=self.path)
        assert verified.returncode == 0, verified.stdout


@pytest.fixture
def lab(valkey: RealValkey, tmp_path: Path) -> Lab:
    return Lab(valkey, tmp_path)


@pytest.mark.parametrize("layout", ["csv", "tsv", "original"])
def test_a_guard_that_is_switched_on_and_off_changes_the_next_files_and_nothing_is_lost(lab: Lab, layout: str) -> None:
    guards = ["false", "true", "true", "false", "true"]
    for number, guard in enumerate(guards):
        lab.configure(layout, guard)
        lab.write(kill=number % 2 == 1)  # what it left is sealed under the next ini, as it was born
        lab.check()
    files = [file for event_type in TYPES for file in sealed_files(lab.files, event_type)]
    told = {file: decode(manifest_path(file).read_bytes(), manifest_path(file)).guarded for file in files}
    assert sorted(told.values()) == [False] * 6 + [True] * 9
    for file, is_guarded in told.items():
        assert ("'+1+cmd" in file.read_text()) is is_guarded
    compress(files[0])
    lab.check()


@pytest.mark.parametrize("guard", ["true", "false"])
def test_a_spreadsheet_finds_no_formula_in_a_guarded_csv_and_a_replay_gives_the_same(lab: Lab, guard: str) -> None:
    lab.configure("csv", guard)
    lab.write()
    for into in ("one", "two"):
        done = lab.command("replay", "--from", "-", "--into", str(lab.path / into), "--json")
        assert done.returncode == 0, done.stderr
    files = [file for event_type in TYPES for file in sealed_files(lab.path / "one", event_type)]
    assert len(files) == 3
    for file in files:
        assert file.read_bytes() == next((lab.path / "two").rglob(file.name)).read_bytes()
        with file.open(newline="") as content:
            cells = [cell for row in csv.reader(content) for cell in row]
        assert any(cell.startswith(("=", "+")) for cell in cells) is (guard == "false")
    assert "csv_guard" not in run("config", "check", str(lab.ini), cwd=lab.path).stdout


def test_a_guard_of_json_lines_is_a_warning(lab: Lab) -> None:
    lab.configure("jsonl", "true")
    done = run("config", "check", str(lab.ini), cwd=lab.path)
    assert done.returncode == 0
    assert "csv_guard: has no effect: jsonl has no cells" in done.stdout
    lab.write()
    lab.check()
    assert not any("guarded" in file.read_text() for file in (lab.files / "series").iterdir())
