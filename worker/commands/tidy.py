"""`haraka-accounting tidy`: one run of the janitor, for a directory without a worker, or to see what fails."""

import sys
from pathlib import Path

import click
import msgspec

from config.places import Purpose
from worker.commands.options import config_option, load_settings
from worker.commands.terminal import tell
from worker.commands.used import used_id
from worker.errors import DiskTrouble, ExitCode
from worker.identity import require_partition
from worker.janitor import Janitor


@click.command(name="tidy")
@config_option
@click.option(
    "--trust-clock", is_flag=True,
    help="Let days count for keep_days that nobody saw pass: the machine was off, and its clock is right.",
)  # fmt: skip
def tidy_command(config_file: Path | None, *, trust_clock: bool) -> None:
    """Move, compress, upload and expire sealed files now, as the configuration asks for.

    Workers do it themselves, once a minute; this is for a directory without one, or to see at once what fails.
    Exit code 1 says that something could not be done, 73 that a worker is at it.
    """
    settings = load_settings(config_file, None, None, Purpose.TIDY).settings
    path = settings.directory.path
    if used_id(path) is None:
        raise DiskTrouble(f"{path}: no directory of accounting files: expected one that a worker has used")
    require_partition(path, settings.stream.partition)
    janitor = Janitor(settings.directory, settings.janitor, archiving=settings.rotation.archiving)
    try:
        done = janitor.run(trust_clock=trust_clock)
    except OSError as error:
        raise DiskTrouble(f"{error.filename or path}: {error.strerror}") from error
    tell(", ".join(f"{name} {count}" for name, count in msgspec.structs.asdict(done).items()))
    if janitor.troubles:
        sys.exit(ExitCode.FAILED)
