"""`haraka-accounting rotate`: let workers of this directory rotate their files now."""

import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import click

from worker.commands.options import Server, config_option, load_settings, redis_option, server_of
from worker.commands.terminal import tell
from worker.errors import ExitCode, Unreadable
from worker.identity import require_partition
from worker.locks import is_at_work, number_in
from worker.stream.inspection import inspect

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
    require_partition(settings.directory.path, settings.stream.partition)
    found = {consumer: _holder(lock) for consumer, lock in _locks(settings.directory.path, name).items()}
    workers = {consumer: pid for consumer, pid in found.items() if pid is not None}
    if not workers:
        wanted = "no worker" if name is None else f"no worker {name}"
        tell(f"{settings.directory.path}: {wanted} of this machine is at work here; {_ELSEWHERE}", err=True)
        sys.exit(ExitCode.FAILED)
    _rotate(server_of(settings), workers, timeout)


def _rotate(server: Server, workers: dict[str, int], timeout: int) -> None:
    """Send the signal, and wait until no record names the files of before as open ones."""
    before = _open_files(server, workers)
    for consumer, pid in workers.items():
        _signal(consumer, pid)
    end = time.monotonic() + timeout
    while before and (left := before & _open_files(server, workers)):
        if time.monotonic() > end:
            tell(f"not rotated within {timeout} s: {', '.join(sorted(left))}", err=True)
            sys.exit(ExitCode.FAILED)
        time.sleep(_POLL_SECONDS)
    for file in sorted(before):
        tell(file)


def _signal(consumer: str, pid: int) -> None:
    """Let a worker rotate; one that has ended meanwhile has sealed its files."""
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise Unreadable(f"process {pid} of consumer {consumer} is another user's: no right to signal it") from error


def _open_files(server: Server, consumers: Collection[str]) -> set[str]:
    """Return the names of these consumers' open files that have rows. Raises Unreadable where not all can be known."""
    found = inspect(*server)
    if found.unreadable:
        raise Unreadable("; ".join(found.unreadable))
    return {
        file.name
        for kind in found.types.values()
        for owner, file in kind.open_files.items()
        if owner.rpartition(" ")[0] in consumers and file.rows
    }


def _locks(path: Path, name: str | None) -> dict[str, Path]:
    """Return the lock files of a directory by consumer. Raises OSError where that cannot be read."""
    if not path.exists():
        return {}
    names = (entry.name for entry in os.scandir(path) if entry.name.startswith(".") and entry.name.endswith(".lock"))
    return {each[1:-5]: path / each for each in names if name in {None, each[1:-5]}}


def _holder(lock: Path) -> int | None:
    """Return the process that has a consumer's lock, None where it is none of this machine that can be seen.

    The number in the file may be that of another process: of a dead worker, or counted in another container. So it
    must hold the lock file open, which a worker does for as long as it lives. Raises OSError and Unreadable without the
    right to look.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        pid, wanted = number_in(lock), lock.stat()
        try:
            return pid if any(_is(descriptor, wanted) for descriptor in Path(f"/proc/{pid}/fd").iterdir()) else None
        except PermissionError as error:
            if is_at_work(lock.parent, lock.name[1:-5]):
                raise Unreadable(f"{lock}: process {pid} is another user's: no right to look at it") from error
    return None


def _is(descriptor: Path, wanted: os.stat_result) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(descriptor.stat(), wanted)
    return False
