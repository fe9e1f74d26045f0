"""`haraka-accounting rotate`: let workers of this directory rotate their files now."""

import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import click

from worker.commands.options import config_option, load_settings, redis_option
from worker.errors import ExitCode
from worker.identity import require_partition
from worker.server import BundledServer
from worker.stream import Connector
from worker.stream.inspection import inspect
from worker.stream.link import connector

_POLL_SECONDS = 0.2
_ELSEWHERE = "where it runs in another container, send it SIGHUP there, such as docker kill -s HUP CONTAINER"


@click.command(name="rotate")
@config_option
@redis_option
@click.option("--name", metavar="CONSUMER", help="The worker that is to do it.")
@click.option("--all", "everyone", is_flag=True, help="All workers of this directory on this machine.")
@click.option("--timeout", type=click.IntRange(min=1), default=30, show_default=True, help="Wait so many seconds.")
def rotate_command(
    config_file: Path | None, redis_url: str | None, name: str | None, timeout: int, *, everyone: bool
) -> None:
    """Rotate the open files that have rows, and print which. SIGHUP to a worker does the same."""
    if (name is None) != everyone:
        raise click.UsageError("expected --name CONSUMER or --all")
    settings = load_settings(config_file, redis_url, None).settings
    url = settings.stream.url or BundledServer(settings.server).url
    require_partition(settings.directory.path, settings.stream.partition)
    found = {consumer: _holder(lock) for consumer, lock in _locks(settings.directory.path, name).items()}
    workers = {consumer: pid for consumer, pid in found.items() if pid is not None}
    if not workers:
        wanted = "no worker" if name is None else f"no worker {name}"
        click.echo(f"{settings.directory.path}: {wanted} of this machine is at work here; {_ELSEWHERE}", err=True)
        sys.exit(ExitCode.FAILED)
    _rotate((connector(settings.stream, url), settings.stream.partition), workers, timeout)


def _rotate(server: tuple[Connector, str], workers: dict[str, int], timeout: int) -> None:
    """Send the signal, and wait until no record names the files of before as open ones."""
    before = _open_files(server, workers)
    for pid in workers.values():
        os.kill(pid, signal.SIGHUP)
    end = time.monotonic() + timeout
    while before and (left := before & _open_files(server, workers)):
        if time.monotonic() > end:
            click.echo(f"not rotated within {timeout} s: {', '.join(sorted(left))}", err=True)
            sys.exit(ExitCode.FAILED)
        time.sleep(_POLL_SECONDS)
    for file in sorted(before):
        click.echo(file)


def _open_files(server: tuple[Connector, str], consumers: Collection[str]) -> set[str]:
    """Return the names of these consumers' open files that have rows."""
    return {
        file.name
        for kind in inspect(*server).types.values()
        for owner, file in kind.open_files.items()
        if owner.rpartition(" ")[0] in consumers and file.rows
    }


def _locks(path: Path, name: str | None) -> dict[str, Path]:
    """Return the lock files of a directory by consumer."""
    return {lock.name[1:-5]: lock for lock in path.glob(".*.lock") if name in {None, lock.name[1:-5]}}


def _holder(lock: Path) -> int | None:
    """Return the process that has a consumer's lock, None where it is none of this machine that can be seen.

    The number in the file may be that of another process: of a dead worker, or counted in another container. So it
    must hold the lock file open, which a worker does for as long as it lives.
    """
    with suppress(OSError, ValueError):
        pid = int(lock.read_text("ascii"))
        wanted = lock.stat()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found = descriptor.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return pid
    return None
