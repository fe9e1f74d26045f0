"""The worker, draining a stream: run by bench.drain."""

import logging
import sys
from pathlib import Path

from bench.figures import Figures
from config.loader import load
from worker.assembly import build_worker, tune_collector


def main() -> None:
    """Drain as many events as the stream holds, seal the files, and report."""
    url, partition, events, directory = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    logging.basicConfig(level=logging.WARNING)
    directory.mkdir(parents=True)
    ini = directory / "accounting_files.ini"
    more = "".join(sys.argv[5:])  # lines of the main section
    ini.write_text(f"path = {directory}/files\n{more}[redis]\npartition = {partition}\n")
    worker = build_worker(load(ini, redis_url=url, name="bench-1", environ={}).settings, url)
    tune_collector()
    worker.recover()
    figures = Figures()
    while worker.totals.events < events:
        worker.step()
    worker.stop()
    worker.run()
    figures.report(events)


if __name__ == "__main__":
    main()
