"""D: what others do to the streams is not taken at its word (D2, D9), and sizes beyond 2 GiB are whole (D6)."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.field.site import KEYS, Site, is_long, open_files
from tests.support.events import make_event
from tests.support.servers import WorkerProcess
from worker.stream.keys import GROUP

ENOUGH_BYTES = 2_300_000_000


def stall_with_entries(site: Site, worker: WorkerProcess, name: str = "worker-1") -> dict[str, list[bytes]]:
    """Stop a worker that has entries in hand; returns their ids by stream."""
    for _ in range(100):
        site.publisher.publish_some(60)
        os.kill(worker.process.pid, signal.SIGSTOP)
        if any(found := pending_of(site, name).values()):
            return pending_of(site, name)
        os.kill(worker.process.pid, signal.SIGCONT)
    raise AssertionError(f"never stopped with entries in hand: {found}")


def pending_of(site: Site, name: str) -> dict[str, list[bytes]]:
    """Return the ids of the entries that a consumer has pending, by stream."""
    return {
        key: [each["message_id"] for each in site.client.xpending_range(key, GROUP, "-", "+", 100_000, name)]
        for key in KEYS.streams.values()
    }


# D2: host A's disk stalls for less than its lease; XAUTOCLAIM … ops 5000 0-0; worker-2 takes over from ops; A goes on


def autoclaim(site: Site, taken: dict[str, list[bytes]]) -> None:
    """XAUTOCLAIM all of it to a name that nobody works under."""
    for key in taken:
        site.client.xautoclaim(key, GROUP, "ops", 0, "0-0", count=5000)


def claim_some(site: Site, taken: dict[str, list[bytes]]) -> None:
    """XCLAIM every other entry."""
    for key, ids in taken.items():
        if ids[::2]:
            site.client.xclaim(key, GROUP, "ops", 0, ids[::2])


def claim_first(site: Site, taken: dict[str, list[bytes]]) -> None:
    """XCLAIM one entry."""
    key, ids = next((key, ids) for key, ids in taken.items() if ids)
    site.client.xclaim(key, GROUP, "ops", 0, ids[:1])


def claim_and_give_back(site: Site, taken: dict[str, list[bytes]]) -> None:
    """XCLAIM all of it, and some of it back: the number of entries in hand is right for some streams."""
    autoclaim(site, taken)
    for key, ids in taken.items():
        if ids[1:]:
            site.client.xclaim(key, GROUP, "worker-1", 0, ids[1:])


@pytest.mark.parametrize("take", [autoclaim, claim_some, claim_first, claim_and_give_back])
def test_entries_that_somebody_claims_from_a_worker_that_stalls_have_their_rows_once(
    site: Site, take: Callable[[Site, dict[str, list[bytes]]], None]
) -> None:
    workers = [site.started(redis__batch_entries=20), site.started("worker-2", redis__batch_entries=20)]
    take(site, stall_with_entries(site, workers[0]))
    site.wait(lambda: not any(pending_of(site, "ops").values()), "worker-2 to take over what ops has")
    os.kill(workers[0].process.pid, signal.SIGCONT)
    site.check(*workers)


def test_entries_that_are_claimed_for_a_worker_at_work_are_written_once_it_starts_again_at_the_latest(
    site: Site,
) -> None:
    workers = [site.started(redis__batch_entries=20), site.started("worker-2", redis__batch_entries=20)]
    for key, ids in stall_with_entries(site, workers[0]).items():
        if ids:
            site.client.xclaim(key, GROUP, "worker-2", 0, ids)
    os.kill(workers[0].process.pid, signal.SIGCONT)
    site.wait(lambda: not any(pending_of(site, "worker-1").values()), "what worker-1 has left")
    site.stop(workers[1])
    workers[1].start()
    site.check(*workers)


def acknowledge(site: Site, taken: dict[str, list[bytes]]) -> None:
    """XACK what a worker has in hand."""
    for key, ids in taken.items():
        if ids:
            site.client.xack(key, GROUP, *ids)


def delete_consumer(site: Site, taken: dict[str, list[bytes]]) -> None:
    """XGROUP DELCONSUMER, which forgets what it has pending."""
    for key in taken:
        site.client.xgroup_delconsumer(key, GROUP, "worker-1")


def delete_entries(site: Site, taken: dict[str, list[bytes]]) -> None:
    """XDEL what a worker has in hand."""
    for key, ids in taken.items():
        if ids:
            site.client.xdel(key, *ids)


@pytest.mark.parametrize("take", [acknowledge, delete_consumer, delete_entries])
def test_entries_that_somebody_takes_out_of_the_group_are_doubled_by_nobody_and_the_audit_tells(
    site: Site, take: Callable[[Site, dict[str, list[bytes]]], None]
) -> None:
    worker = site.started(redis__batch_entries=20)
    taken = stall_with_entries(site, worker)
    take(site, taken)
    os.kill(worker.process.pid, signal.SIGCONT)
    site.wait(lambda: not site.left(), "what is left")
    site.stop(worker)
    assert max(site.rows().values()) == 1
    missing = (site.expected() - site.rows()).total()
    assert missing <= sum(map(len, taken.values()))
    assert bool(missing) == (site.run("audit").returncode == 1)


# D9: entries copied by hand with all their fields, two unread ones deleted


def test_entries_that_are_copied_by_hand_hide_none_that_are_deleted(site: Site) -> None:
    worker = site.started()
    site.write(12)
    site.stop(worker)
    site.publisher.publish_some(12)
    key = KEYS.streams["delivered"]
    unread = site.client.xrange(key)[4:]
    gone = [unread[1][0], unread[2][0]]
    for _, fields in site.client.xrange(key)[:2]:
        site.client.xadd(key, fields)
    site.client.xdel(key, *gone)
    worker.start()
    site.wait(lambda: not site.left(), "what is left")
    site.stop(worker)
    doubled = {rcpt for rcpt, rows in site.rows().items() if rows > 1}
    missing = site.expected() - site.rows()
    assert missing.total() == len(gone)
    assert len(doubled) == len(gone)
    assert site.rows().total() == site.expected().total()
    assert site.client.hget(KEYS.ledger, "delivered:rows") == str(rows_of_type(site, "delivered")).encode()


def rows_of_type(site: Site, event_type: str) -> int:
    """Return how many rows of a type stand in the files."""
    return sum(rows for rcpt, rows in site.rows().items() if rcpt.startswith(event_type))


def test_a_wrong_running_number_costs_no_row(site: Site) -> None:
    """An `at` that does not rise, that is no number, that is missing."""
    worker = site.started()
    key = KEYS.streams["delivered"]
    for number, at in enumerate(["1", "x", "-5", "99999999999999999999", ""]):
        event = make_event("delivered", 1000 + number)
        site.publisher.published["delivered"].append(event)
        fields = {"events": json.dumps([event]), "n": 1, **({"at": at} if at else {})}
        site.client.xadd(key, fields)
        site.publisher.publish_some(3)
    site.check(worker)


# D6: a file of 2.3 GB is rescued


@pytest.mark.skipif(not is_long(), reason="FIELD=all: it writes 5 GB")
@pytest.mark.timeout(1200)
def test_a_file_beyond_two_gib_is_rescued_whole(site: Site) -> None:
    """And one that is cut, sealed and verified."""
    assert shutil.disk_usage(site.base).free > 3 * ENOUGH_BYTES, "not enough room"
    wide = {f"x-{number}" for number in range(100)}
    columns = ",".join(["rcpt", *(f"custom_{name}" for name in sorted(wide))])
    worker = site.started(fields__delivered=columns, max_size=100_000)
    filler = dict.fromkeys(wide, "y" * 8000)
    bytes_per_row = sum(map(len, filler.values()))
    events, recipients = -(-ENOUGH_BYTES // (bytes_per_row * 100)), 100
    for number in range(events):
        event = make_event("delivered", number, recipients=recipients, custom=filler)
        site.publisher.publish({"delivered": [event]})
    site.wait(lambda: not site.left(), "every commit", seconds=600)
    [file] = [each for each in open_files(site.path) if each.name.startswith("d.")]
    size = file.stat().st_size
    assert size > 2**31
    file.unlink()
    site.publisher.publish_some(3)
    site.wait(lambda: "file.swapped" in worker.log(), "the rescue", seconds=600)
    site.wait(lambda: not site.left(), "what is new", seconds=600)
    [kept] = [each for each in (site.path / "recovered").iterdir() if each.suffix != ".json"]
    assert kept.stat().st_size == size
    note = json.loads(kept.with_name(f"{kept.name}.json").read_bytes())
    assert note["kept_bytes"] == note["bytes"] == size
    assert lines_of(kept) == events * recipients + 1
    site.stop(worker)


def lines_of(file: Path) -> int:
    """Count the lines of a file, in pieces."""
    with file.open("rb") as content:
        return sum(piece.count(b"\n") for piece in iter(lambda: content.read(1 << 24), b""))
