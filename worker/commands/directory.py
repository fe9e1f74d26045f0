"""`haraka-accounting directory`: which directory this is, and what to say where a worker refuses it."""

import socket
import sys
from pathlib import Path

import click

from config.places import Purpose
from worker import identity, locks, ownership
from worker.commands.options import config_option, json_option, load_settings, redis_option, server_of
from worker.commands.terminal import put, tell, tell_json
from worker.errors import DirectoryRefused, DiskTrouble, ExitCode
from worker.stream.directories import Claimed, at_work, claimed


@click.group(name="directory")
def directory_group() -> None:
    """Say which directory of accounting files this is, where a worker cannot tell.

    A directory has an id, and the server knows where it was started last. A worker refuses one that was started
    elsewhere since (it is a copy, or the original of one), one that has lost its id, and an empty place where one was
    (exit code 76). docs/operations.md, Directories, tells what to do.
    """


@directory_group.command(name="show")
@config_option
@redis_option
@json_option
def show_command(config_file: Path | None, redis_url: str | None, *, as_json: bool) -> None:
    """Show the id of the directory, and what the server knows of it. Exit code 1: a worker would refuse it."""
    settings = load_settings(config_file, redis_url, None).settings
    path = settings.directory.path
    known = claimed(*server_of(settings))
    mine = identity.read(path)
    last = known.get(mine.directory) if mine else None
    facts = {
        "path": str(path),
        "id": mine.directory if mine else None,
        "partition": mine.partition if mine else None,
        "token": str(mine.current) if mine else None,
        "mounts": list(mine.mounts) if mine else [],
        "at_work_here": sorted(locks.at_work(path)) if path.is_dir() else [],
        "last_started": last._asdict() if last else None,
        "here_before": [each._asdict() for each in known.values() if _was_here(each, path, mine)],
    }
    is_fine = mine is not None and (last is None or _is_shown(last, mine))
    if as_json:
        tell_json(facts)
    else:
        for name, value in facts.items():
            put(f"{name:13} {_worded(value)}")
    if not is_fine:
        sys.exit(ExitCode.FAILED)


def _is_shown(last: Claimed, mine: identity.Identity) -> bool:
    """Tell whether a start here would be accepted: the server's token is this directory's, or an older one."""
    tokens = {str(mine.current), str(mine.next)}
    return f"{last.number} {last.random}" in tokens or last.number < mine.current.number


def _was_here(known: Claimed, path: Path, mine: identity.Identity | None) -> bool:
    is_another = mine is None or known.directory != mine.directory
    return is_another and (known.host, known.path) == (socket.gethostname(), str(path))


def _worded(value: object) -> str:
    match value:
        case None | []:
            return "-"
        case dict():
            return ", ".join(f"{name} {each}" for name, each in value.items())
        case list():
            return "; ".join(map(_worded, value))
        case _:
            return str(value)


@directory_group.command(name="adopt")
@config_option
@redis_option
@click.option("--id", "wanted", metavar="ID", help="The id, where nothing here tells it, or several are told.")
def adopt_command(config_file: Path | None, redis_url: str | None, wanted: str | None) -> None:
    """Say that this directory is the one that goes on: the next start here supersedes every copy of it.

    For one that was restored or whose copy was started by mistake, and for one that lost accounting.id. No worker may
    be at work in it, here or in a copy. Files are not touched; a worker compares them with what the server has.
    """
    settings = load_settings(config_file, redis_url, None, Purpose.TIDY).settings
    path, server = settings.directory.path, server_of(settings)
    try:
        directory = wanted or ownership.id_here(settings.directory)
        if busy := at_work(*server, directory):
            raise DirectoryRefused(
                f"{path}: {', '.join(busy)} at work in the directory {directory}, here or in a copy: stop it first, "
                "and wait until its lease is gone"
            )
        known = claimed(*server).get(directory)
        found = ownership.adopt(settings.directory, settings.stream.partition, directory, known)
    except OSError as error:
        raise DiskTrouble(f"{error.filename or path}: {error.strerror}") from error
    tell(f"{path}: is the directory {found.directory}; start its workers")


@directory_group.command(name="new")
@config_option
def new_command(config_file: Path | None) -> None:
    """Make this directory another one than that of which it is a copy, or begin anew where the files are gone.

    What the other one's workers had in hand (open files, journals, recovered/, lost/) goes to copied/ and does not
    count here; sealed files stay. Nothing is deleted. Not for a directory whose workers only stopped: their rows would
    count nowhere.
    """
    settings = load_settings(config_file, None, None, Purpose.TIDY).settings
    path = settings.directory.path
    try:
        done = ownership.begin_anew(settings.directory, settings.names, settings.stream.partition)
    except OSError as error:
        raise DiskTrouble(f"{error.filename or path}: {error.strerror}") from error
    was = f", a copy of {done.was} until now" if done.was else ""
    aside = f"; {done.moved} files and folders of that one are in {done.aside}" if done.aside else ""
    tell(f"{path}: is the directory {done.identity.directory}{was}{aside}")
