"""The straightforward loop that one would write first: run by bench.drain beside the worker.

XREADGROUP, msgspec, join, write, XACK. It does less: no fsync, no commit record, rows lost or doubled by a crash.
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import redis

from bench.figures import Figures
from schemas.events import AnyEvent, Delivered
from worker.stream.keys import GROUP, Keys

_COUNT = 2000


def main() -> None:
    """Drain as many events as the stream holds, and report."""
    url, partition, events, directory = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    key = Keys.of(partition).streams["delivered"]
    client: Any = redis.Redis.from_url(url, protocol=2, socket_timeout=60)
    decoder = msgspec.json.Decoder(list[AnyEvent])
    directory.mkdir(parents=True)
    done = 0
    figures = Figures()
    with (directory / "d.tsv").open("w") as file:
        while done < events:
            (_, entries), *_ = client.xreadgroup(GROUP, "plain", {key: ">"}, count=_COUNT)
            for _, fields in entries:
                for item in decoder.decode(fields[b"events"]):
                    assert isinstance(item, Delivered)  # noqa: S101
                    for rcpt in item.rcpts:
                        row = (
                            "d",
                            datetime.fromtimestamp(item.time_logged / 1000).strftime("%Y-%m-%d %H:%M:%S"),  # noqa: DTZ006
                            datetime.fromtimestamp((item.time_queued or 0) / 1000).strftime("%Y-%m-%d %H:%M:%S"),  # noqa: DTZ006
                            rcpt.rcpt, item.src_mta or "-", item.src_ip or "-", item.vmta or "-", item.job_id or "-",
                            item.dsn_status, item.dsn_msg or "-",
                        )  # fmt: skip
                        file.write("\t".join(row) + "\n")
                    done += 1
            file.flush()
            client.xack(key, GROUP, *(entry_id for entry_id, _ in entries))
    figures.report(events)


if __name__ == "__main__":
    main()
