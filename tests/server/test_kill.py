"""SIGKILL of the worker at random moments, on a real server: each row exactly once."""

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

from schemas.events import TAGS, TYPES
from tests.support.files import check_manifest, data_files, recipients_in, rows_of, sealed_files
from tests.support.servers import RealValkey, WorkerProcess, wait_until
from worker.stream.keys import Keys

EVENTS = 100_000
PER_BATCH = 20
KILLS = 12
PARTITION = "haraka:accounting"
PUBLISH = Path(__file__).resolve().parents[2] / "haraka" / "plugin" / "lib" / "publish.lua"


def publish_all(valkey: RealValkey) -> None:
    """Publish the events in batches, through the plugin's script, each recipient once."""
    client = valkey.client()
    sha = client.script_load(PUBLISH.read_text())
    keys = Keys.of(PARTITION)
    names = [keys.producers, keys.ledger, *keys.streams.values(), keys.history]
    pipeline = client.pipeline(transaction=False)
    for seq in range(1, EVENTS // PER_BATCH + 1):
        event_type = TYPES[seq % len(TYPES)]
        first = (seq - 1) * PER_BATCH
        events = [
            {
                "eventId": f"mx1:{seq}:{number}", "type": TAGS[event_type], "v": 1, "timeLogged": 1_795_373_309_671,
                "jobId": f"JOB-{number}", "rcpts": [{"rcpt": f"{number}@example.com"}],
            }
            for number in range(first, first + PER_BATCH)
        ]  # fmt: skip
        pipeline.evalsha(sha, len(names), *names, "mx1", seq, "", event_type, PER_BATCH, json.dumps(events))
        if seq % 100 == 0:
            pipeline.execute()
    pipeline.execute()


def test_a_worker_killed_at_random_moments_writes_each_of_100_000_events_exactly_once(
    valkey: RealValkey, tmp_path: Path
) -> None:
    path = tmp_path / "files"
    ini = tmp_path / "accounting_files.ini"
    # Small batches, so that draining takes long enough to be killed in the middle of it.
    ini.write_text(f"path={path}\narchiving=true\nmax_size=0.2\n[redis]\nbatch_entries=20\n")
    worker = WorkerProcess(ini, valkey.url)
    client, ledger = valkey.client(), Keys.of(PARTITION).ledger
    publisher = threading.Thread(target=publish_all, args=(valkey,))
    publisher.start()
    chance = random.Random(20261122)

    def committed() -> int:
        return sum(int(client.hget(ledger, f"{event_type}:rows") or 0) for event_type in TYPES)

    kills = 0
    while kills < KILLS:
        worker.start()
        goal = min(EVENTS, committed() + chance.randrange(EVENTS // KILLS))
        wait_until(lambda goal=goal: committed() >= goal, f"{goal} rows committed")  # type: ignore[misc]
        time.sleep(chance.random() / 50)  # the moment of the kill, anywhere within a batch
        worker.kill()
        kills += 1
    publisher.join()
    worker.start()
    wait_until(lambda: committed() == EVENTS, f"{EVENTS} rows committed")
    assert worker.stop() == 0
    assert recipients_in(path) == Counter(f"{number}@example.com" for number in range(EVENTS))
    sealed = [file for event_type in TYPES for file in sealed_files(path, event_type)]
    assert sum(check_manifest(file).rows for file in sealed) == EVENTS
    assert len(sealed) > KILLS
    assert sum(int(client.hget(ledger, f"{event_type}:events")) for event_type in TYPES) == EVENTS
    unsealed = [file for event_type in TYPES for file in data_files(path, event_type) if file not in sealed]
    assert not any(rows_of(file) for file in unsealed)  # killed between link and commit: a header at most
