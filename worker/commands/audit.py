"""`haraka-accounting audit`: what came against where it went, row by row where that is asked for."""

import sys
from pathlib import Path

import click
import msgspec

from worker.audit.directory import Shelf
from worker.audit.finding import NotAudited
from worker.audit.report import audit
from worker.commands import audited, text
from worker.commands.options import config_option, json_option, load_settings, redis_option
from worker.directory import known_id
from worker.errors import ExitCode, StreamUnavailable
from worker.server import BundledServer
from worker.settings import DirectorySettings, Settings
from worker.stream.link import connector
from worker.stream.snapshot import snapshots


@click.command(name="audit")
@config_option
@redis_option
@json_option
@click.option(
    "--directory", "directories", multiple=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Look at this directory of accounting files too, as another host's that is mounted here.",
)  # fmt: skip
@click.option(
    "--known-lost", type=click.IntRange(min=0), default=0, metavar="N",
    help="So many lost events are known and no finding. Default: 0.",
)  # fmt: skip
def audit_command(
    config_file: Path | None, redis_url: str | None, directories: tuple[Path, ...], known_lost: int, *, as_json: bool
) -> None:
    """Compare what came with where it went, and the rows with the files. Changes nothing.

    Reads counts only, and is safe while workers run. Exit codes: 0 everything is there, 1 something was found, 74 it
    could not be looked at.
    """
    settings = load_settings(config_file, redis_url, None).settings
    url = settings.stream.url or BundledServer(settings.server).url
    try:
        shelves = _shelves(settings, directories)
        with snapshots(connector(settings.stream, url), settings.stream.partition) as taken:
            report, _, _ = audit(taken, shelves, known_lost)
    except (StreamUnavailable, OSError) as error:
        raise NotAudited(f"not audited: {error}") from error
    if as_json:
        click.echo(text.as_json(report))
    else:
        audited.show(report)
    if report.findings:
        sys.exit(ExitCode.FAILED)


def _shelves(settings: Settings, directories: tuple[Path, ...]) -> list[Shelf]:
    """Return the directories to look at: the configured one, where it was ever used, and those that were named."""
    shelves: dict[str, Shelf] = {}
    for path in (settings.directory.path, *directories):
        directory_id = known_id(path)
        if directory_id is not None:
            at: DirectorySettings = msgspec.structs.replace(settings.directory, path=path.absolute())
            shelves.setdefault(directory_id, Shelf(at, directory_id))
        elif path in directories:
            raise click.UsageError(f"{path}: no worker has used it, it has no file .directory-id")
        else:
            click.echo(f"{path}: no worker has used it, its files are not looked at", err=True)
    return list(shelves.values())
