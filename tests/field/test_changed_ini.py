"""C: a file describes itself from its birth: what the ini says later changes neither its layout nor its place."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.field.site import Site, content, data_files, is_long
from worker.errors import ExitCode
from worker.manifest import Manifest, decode, manifest_path

SHORT_COLUMNS = "type,rcpt,dsnStatus"
ADDED = "type,timeLogged,timeQueued,rcpt,srcMta,srcIp,vmta,jobId,dsnStatus,dsnMsg,custom_x-campaign"
SWAPPED = {"location__delivered": "deferred", "location__deferred": "delivered"}

#: What is changed: options before, and after.
CHANGES: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "column-added": ({}, {"fields__delivered": ADDED}),
    "column-removed": ({"fields__delivered": ADDED}, {}),
    "columns-reordered": ({"fields__delivered": SHORT_COLUMNS}, {"fields__delivered": "dsnStatus,rcpt,type"}),
    "csv": ({}, {"format": "csv"}),
    "from-csv": ({"format": "csv", "separator": ";"}, {"format": "csv", "separator": "|"}),
    "jsonl": ({}, {"format": "jsonl"}),
    "from-jsonl": ({"format": "jsonl"}, {}),
    "csv_guard": ({"csv_guard": "true"}, {"format": "csv"}),
    "original": ({}, {"format": "original", "separator": "\\t"}),
    "from-original": ({"format": "original"}, {"format": "tsv"}),
    "timezone": ({"timezone": "UTC"}, {"timezone": "Asia/Kolkata"}),
    "extension": ({}, {"extension": "log"}),
    "filename": ({}, {"filename": "{type}.{consumer}.{time}.{extension}"}),
    "location": ({}, {"location__delivered": "mail/out"}),
    "location-moved-up": ({"location__delivered": "mail/out"}, {"location__delivered": "mail"}),
    "archive_to": ({}, {"archive_to__delivered": "archive/2025"}),
    "archive_to-moved-up": ({"archive_to__delivered": "archive/2025"}, {"archive_to__delivered": "archive"}),
    "archiving-off": ({}, {"archiving": "false"}),
    "archiving-on": ({"archiving": "false"}, {}),
    "compress": ({}, {"compress": "zstd"}),
    "everything": (
        {"fields__delivered": SHORT_COLUMNS, "timezone": "UTC"},
        {
            "format": "csv", "extension": "txt", "timezone": "Asia/Kolkata", "archive_to__delivered": "old/2026",
            "location__delivered": "out", "filename": "{type}.{consumer}.{time}.{extension}",
            "fields__delivered": "rcpt,type",
        },
    ),
}  # fmt: skip
KILLED, STOPPED, ORPHANED = "killed", "stopped", "another worker"
SHORT = {
    ("column-added", KILLED), ("archive_to", STOPPED), ("from-csv", ORPHANED), ("location", KILLED),
    ("everything", KILLED), ("from-jsonl", STOPPED), ("filename", ORPHANED), ("archiving-off", KILLED),
}  # fmt: skip
CASES = [
    pytest.param(*change, moment, id=f"{name}-{moment}")
    for name, change in CHANGES.items()
    for moment in (KILLED, STOPPED, ORPHANED)
    if is_long() or (name, moment) in SHORT
]


def found_by_find(site: Site, options: Mapping[str, Any]) -> Counter[str]:
    """Return the recipients that `find` shows."""
    done = site.run("find", "--domain", "example.com", "--json", **options)
    assert done.returncode in {0, 1}, done.stderr
    return Counter(json.loads(line)["row"]["rcpt"] for line in done.stdout.splitlines())


def manifests(path: Path) -> list[Manifest]:
    """Return the manifests of all sealed files, in whatever place."""
    found = [manifest_path(each) for each in data_files(path) if manifest_path(each).exists()]
    compressed = [each for each in path.rglob("*.json") if each.with_suffix(".zst").exists()]
    return [decode(each.read_bytes(), each) for each in (*found, *compressed)]


def check_everything(site: Site, options: Mapping[str, Any]) -> None:
    """Ask every command, with the ini as it is now: no row is missing, doubled or described wrongly."""
    assert found_by_find(site, options) == site.expected()
    verified = site.run("verify", str(site.path))
    assert verified.returncode == 0, verified.stdout
    for words in (["audit"], ["audit", "--deep"]):
        done = site.run(*words, **options)
        assert done.returncode == 0, done.stdout
    assert sum(each.rows for each in manifests(site.path)) == site.expected().total()
    assert site.recovered_rows() == 0


# C1: 10 rows, SIGKILL, one column added to [fields], start. C2: archived files, clean stop, archive_to=archive/2025.


@pytest.mark.parametrize(("before", "after", "moment"), CASES)
def test_files_stay_what_and_where_they_are_when_the_ini_is_changed(
    site: Site, before: Mapping[str, Any], after: Mapping[str, Any], moment: str
) -> None:
    worker = site.started(**before)
    write(site, 10)
    if moment == STOPPED:
        site.stop(worker)
    else:
        worker.kill()
    worker = site.started("worker-2" if moment == ORPHANED else "worker-1", **after)
    if moment == ORPHANED:
        site.told(worker, "file.orphan")
    write(site, 10)
    site.stop(worker)
    check_everything(site, after)
    worker = site.started("worker-2" if moment == ORPHANED else "worker-1", **before)  # and back again
    write(site, 5)
    site.stop(worker)
    check_everything(site, before)


def write(site: Site, events: int) -> None:
    """Publish events, and wait until nothing is left of them."""
    site.publisher.publish_some(events)
    site.wait(lambda: not site.left(), "every commit")


@pytest.mark.parametrize("change", ["column-added", "everything"] if is_long() else ["everything"])
def test_a_rolling_change_with_two_workers_of_different_ini_costs_and_doubles_no_row(site: Site, change: str) -> None:
    before, after = CHANGES[change]
    workers = [site.started(f"worker-{number}", **before) for number in (1, 2)]
    write(site, 30)
    workers[0].kill()
    workers[0] = site.started("worker-1", **after)
    write(site, 30)
    workers[1].kill()
    site.told(workers[0], "file.orphan")
    workers[1] = site.started("worker-2", **after)
    write(site, 30)
    site.stop(*workers)
    check_everything(site, after)


def test_a_change_while_the_server_forgets_costs_no_row(site: Site) -> None:
    before, after = CHANGES["everything"]
    worker = site.started(**before)
    write(site, 12)
    worker.kill()
    site.client.flushall()
    worker = site.started(**after)
    site.publisher.catch_up()
    write(site, 12)
    site.stop(worker)
    assert found_by_find(site, after) == site.expected()
    assert site.run("verify", str(site.path)).returncode == 0


def test_a_change_and_a_move_at_once_cost_no_row(site: Site) -> None:
    before, after = CHANGES["everything"]
    worker = site.started(**before)
    write(site, 12)
    worker.kill()
    os.system(f"cp -a {site.path} {site.path}.new && rm -r {site.path} && mv {site.path}.new {site.path}")  # noqa: S605
    worker = site.started(**after)
    write(site, 12)
    site.stop(worker)
    check_everything(site, after)


@pytest.mark.parametrize(
    "options",
    [SWAPPED, {"location__delivered": "deferred/archive"}, {"archive_to__bounce": "../deferred"}],
    ids=["swapped", "in-an-archive", "outside"],
)
def test_a_place_that_files_of_another_type_have_is_refused(site: Site, options: Mapping[str, Any]) -> None:
    worker = site.started()
    write(site, 9)
    site.stop(worker)
    before = content(site.path)
    code, said = site.refused(site.worker(**options))
    assert code == ExitCode.CONFIGURATION, said
    assert content(site.path) == before


def test_an_ini_that_was_wrong_for_a_while_leaves_everything_where_it_was(site: Site) -> None:
    worker = site.started()
    write(site, 9)
    site.stop(worker)
    code, said = site.refused(site.worker(fields__delivered="rcpt,nothing"))
    assert code == ExitCode.CONFIGURATION, said
    worker = site.started()
    write(site, 3)
    site.stop(worker)
    check_everything(site, {})
