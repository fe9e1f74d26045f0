"""Putting a worker together from its settings."""

import gc
from datetime import UTC, datetime

from schemas.catalogue import header_of, is_custom
from worker.batch import BatchSize, Renderer
from worker.chores import Chores
from worker.directory import Directory
from worker.files import Files
from worker.janitor import EVERY_SECONDS, Janitor
from worker.loop import Worker
from worker.newcomer import require_new
from worker.patience import Pauses
from worker.schedule import Job
from worker.settings import Settings
from worker.stream import Connector, Stream
from worker.stream.link import connector

_COLLECT_AFTER = 200_000
_UNKNOWN_BYTES = 100_000.0  # of an entry, until some were read: they hold arrays, and a backlog may wait


def tune_collector() -> None:
    """Let the cycle collector look at what a batch allocates far more rarely: about 1 µs of CPU per event.

    Entries, events and rows hold no cycles and are freed as a batch ends; what could hold some, such as an exception
    and its frames, is rare. For the whole process, so for the command to decide.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 10, 10)


def build_worker(
    settings: Settings, url: str, *, connect: Connector | None = None, pauses: Pauses | None = None
) -> Worker:
    """Return a worker that holds its consumer's lock; raises OtherPartition, DirectoryRefused, Locked or DiskTrouble.

    `connect` overrides how connections are opened, `pauses` the clock that the loop waits by.
    """
    clock = pauses or Pauses()
    name, archiving = settings.worker.name, settings.rotation.archiving
    partition = settings.stream.partition
    connect_to_look = connect or connector(settings.stream, url)
    require_new(settings.directory, connect_to_look, partition, clock)
    directory = Directory(
        settings.directory, settings.names, settings.rows, name, partition=partition, archiving=archiving
    )
    renderer = Renderer(settings.rows)
    chores = Chores(connect_to_look, settings.stream, directory)
    janitor = Janitor(settings.directory, settings.janitor, archiving=archiving)
    janitor.begin()
    size = BatchSize(
        max_entries=settings.stream.batch_entries, max_bytes=settings.stream.batch_bytes, mean_bytes=_UNKNOWN_BYTES
    )
    columns = {column for names in settings.rows.columns.values() for column in names}
    wanted = sorted(header_of(column) for column in columns if is_custom(column))
    return Worker(
        Stream(settings.stream, name, url=url, wanted=wanted, connect=connect, holder=directory.holder),
        Files(directory, now=lambda: datetime.fromtimestamp(clock.wall(), UTC)),
        renderer,
        settings.rotation,
        directory=directory,
        size=size,
        lease_seconds=settings.stream.lease_seconds,
        pauses=clock,
        chores=[*chores.jobs(), Job("janitor", EVERY_SECONDS, janitor.tick, janitor.stop, janitor.step)],
    )
