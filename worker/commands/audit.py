"""`haraka-accounting audit`: what came against where it went, and with `--deep` every event against every row."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from worker.assembly import tune_collector
from worker.audit.deep.run import DeepReport, Question, deep_audit
from worker.audit.directory import Shelf
from worker.audit.finding import NotAudited
from worker.audit.report import Report, audit
from worker.commands import audited, text
from worker.commands.options import config_option, json_option, load_settings, redis_option, server_of
from worker.commands.progress import progress
from worker.commands.spans import span_of, types_option
from worker.commands.used import used_id
from worker.errors import AccountingError, ExitCode, StreamUnavailable, Unreadable
from worker.identity import require_partition
from worker.settings import DirectorySettings, Settings
from worker.stream.snapshot import snapshots


@click.command(name="audit")
@config_option
@redis_option
@json_option
@click.option("--deep", is_flag=True, help="Compare every event of the streams with every row of the files.")
@click.option("--from", "start", metavar="TIME|ID", help="With --deep: events that arrived then or later.")
@click.option("--to", "end", metavar="TIME|ID", help="With --deep: events up to here; before a time, with an id.")
@types_option
@click.option(
    "--directory", "directories", multiple=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Look at this directory of accounting files too, as another host's that is mounted here.",
)  # fmt: skip
@click.option(
    "--known-lost", type=click.IntRange(min=0), default=0, metavar="N",
    help="So many lost events are known and no finding. Default: 0.",
)  # fmt: skip
def audit_command(config_file: Path | None, redis_url: str | None, **options: Any) -> None:  # noqa: ANN401 - click's
    """Compare what came with where it went, and the rows with the files. Changes nothing.

    Reads counts only, so it takes seconds; --deep reads the streams and the files. Both are safe while workers run.
    TIME and ID are those of `replay`. Exit codes: 0 everything is there, 1 something was found, 74 it could not be
    looked at.
    """
    if not options["deep"] and (options["start"] or options["end"]):
        raise click.UsageError("--from and --to go with --deep: counts have no range")
    settings = load_settings(config_file, redis_url, None).settings
    shelves = _Shelves(settings, options["directories"])
    try:
        report = _deep(settings, shelves, options) if options["deep"] else _counts(settings, shelves, options)
    except (StreamUnavailable, OSError) as error:
        raise NotAudited(f"not audited: {error}") from error
    if options["as_json"]:
        click.echo(text.as_json(report))
    elif isinstance(report, DeepReport):
        audited.show_deep(report)
    else:
        audited.show(report)
    if report.findings:
        sys.exit(ExitCode.FAILED)


class _Shelves:
    """The directories to look at: the configured one, where it is the partition's, and those that were named."""

    def __init__(self, settings: Settings, named: Sequence[Path]) -> None:
        """Look where they are. Raises UsageError for a named one that is none, NotAudited, OSError."""
        self._found: dict[str, DirectorySettings] = {}
        for path in (settings.directory.path, *named):
            try:
                directory_id = _id_of(path, settings.stream.partition)
            except Unreadable as error:
                raise NotAudited(f"not audited: {error}") from error
            except AccountingError as error:
                if path in named:
                    raise click.UsageError(str(error)) from error
                click.echo(text.escaped(f"{error}: its files are not looked at"), err=True)
                continue
            at: DirectorySettings = msgspec.structs.replace(settings.directory, path=path.absolute())
            self._found.setdefault(directory_id, at)

    def open(self) -> list[Shelf]:
        """Read what stands in them now."""
        return [Shelf(at, directory_id) for directory_id, at in self._found.items()]


def _id_of(path: Path, partition: str) -> str:
    """Return the id of a directory of the partition. Raises AccountingError where it is none, OSError."""
    directory_id = used_id(path)
    if directory_id is None:
        raise AccountingError(f"{path}: no worker has used it, it has no file .directory-id")
    require_partition(path, partition)
    return directory_id


def _counts(settings: Settings, shelves: _Shelves, options: dict[str, Any]) -> Report:
    with snapshots(*server_of(settings)) as taken:
        return audit(taken, shelves.open(), options["known_lost"])[0]


def _deep(settings: Settings, shelves: _Shelves, options: dict[str, Any]) -> DeepReport:
    question = Question(
        span=span_of(settings, options["start"], options["end"]),
        types=options["types"],
        rows=settings.rows,
        known_lost=options["known_lost"],
    )
    tune_collector()
    return deep_audit(*server_of(settings), shelves.open, question, lambda total: progress("comparing", "rows", total))
