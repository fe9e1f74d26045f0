"""`haraka-accounting audit`: what came against where it went, and with `--deep` every event against every row."""

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click
import msgspec

from worker import forgotten, identity
from worker.assembly import tune_collector
from worker.audit import acceptance
from worker.audit.acceptance import Acceptances
from worker.audit.deep.run import DeepReport, Question, deep_audit
from worker.audit.directory import Shelf
from worker.audit.finding import Finding, Kind, NotAudited
from worker.audit.report import Known, Report, audit
from worker.commands import audited
from worker.commands.options import config_option, json_option, load_settings, redis_option, server_of
from worker.commands.progress import progress
from worker.commands.spans import span_of, types_option
from worker.commands.terminal import tell, tell_json
from worker.commands.used import used_id
from worker.erasure.matching import Digest, any_of
from worker.errors import AccountingError, DiskTrouble, ExitCode, OtherPartition, StreamUnavailable, Unreadable
from worker.evidence import directory_ids
from worker.settings import DirectorySettings, Settings
from worker.stream.clock import read_clock
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
@click.option(
    "--elsewhere", multiple=True, metavar="ID",
    help="The directory with this id is audited elsewhere, on its own host. It is no finding that it is not here.",
)  # fmt: skip
@click.option(
    "--accept", "reason", metavar="REASON",
    help="Note in the directory that all that is found now was looked at; it is told from then on, and is no finding.",
)  # fmt: skip
def audit_command(config_file: Path | None, redis_url: str | None, **options: Any) -> None:  # noqa: ANN401 - click's
    """Compare what came with where it went, and the rows with the files. Changes nothing, but for --accept.

    Reads counts only, so it takes seconds; --deep reads the streams and the files. Both are safe while workers run.
    TIME and ID are those of `replay`. Exit codes: 0 everything is there, 1 something was found, 74 it could not be
    looked at.
    """
    if not options["deep"] and (options["start"] or options["end"]):
        raise click.UsageError("--from and --to go with --deep: counts have no range")
    settings = load_settings(config_file, redis_url, None).settings
    shelves = _Shelves(settings, options["directories"])
    try:
        known = Known(
            lost=options["known_lost"],
            elsewhere=frozenset(options["elsewhere"]),
            accepted=Acceptances(
                chain.from_iterable(map(acceptance.read, shelves.paths)), shelves.paths, any_of(_digests(shelves.paths))
            ),
            findings=shelves.findings,
        )
        report = _deep(settings, shelves, known, options) if options["deep"] else _counts(settings, shelves, known)
        ahead = [] if options["as_json"] else read_clock(*server_of(settings)).ahead
    except (StreamUnavailable, OSError) as error:
        raise NotAudited(f"not audited: {error}") from error
    for each in ahead:
        tell(f"warning: {each}", err=True)
    if options["as_json"]:
        tell_json(report)
    elif isinstance(report, DeepReport):
        audited.show_deep(report)
    else:
        audited.show(report)
    if report.findings and options["reason"] is not None:
        _accept(shelves, report.findings, options["reason"])
    elif report.findings:
        sys.exit(ExitCode.FAILED)


def _digests(paths: Sequence[Path]) -> frozenset[Digest]:
    """Return the addresses that were forgotten in these directories. Raises OSError, Unreadable."""
    notes = chain.from_iterable(forgotten.read(path).values() for path in paths)
    return frozenset((note.salt, note.digest) for note in notes)


def _accept(shelves: "_Shelves", findings: Sequence[Finding], reason: str) -> None:
    if not shelves.paths:
        raise click.UsageError("--accept: there is no directory here in which it could be noted")
    try:
        noted = acceptance.accept(shelves.paths[0], findings, reason, shelves.paths)
    except OSError as error:
        raise DiskTrouble(f"not accepted: {error.filename}: {error.strerror}") from error
    tell(f"{len(findings)} accepted: {noted}", err=True)


class _Shelves:
    """The directories to look at: the configured one, where it is the partition's, and those that were named."""

    def __init__(self, settings: Settings, named: Sequence[Path]) -> None:
        """Look where they are. Raises UsageError for a named one that is none, NotAudited, OSError."""
        self._found: dict[str, DirectorySettings] = {}
        self.findings: list[Finding] = []  # of directories that cannot tell who they are
        for path in (settings.directory.path, *named):
            at: DirectorySettings = msgspec.structs.replace(settings.directory, path=path.absolute())
            try:
                self._found.setdefault(_id_of(path, settings.stream.partition), at)
            except Unreadable as error:
                raise NotAudited(f"not audited: {error}") from error
            except AccountingError as error:
                if lost := _lost_identity(at, error):
                    self.findings.append(lost)
                elif path in named:
                    raise click.UsageError(str(error)) from error
                else:
                    tell(f"{error}: its files are not looked at", err=True)

    @property
    def paths(self) -> Sequence[Path]:
        """Return where they are, the configured one first."""
        return [at.path for at in self._found.values()]

    def open(self) -> list[Shelf]:
        """Read what stands in them now."""
        return [Shelf(at, directory_id) for directory_id, at in self._found.items()]


def _id_of(path: Path, partition: str) -> str:
    """Return the id of a directory of the partition. Raises AccountingError where it is none, OSError."""
    directory_id = used_id(path)
    if directory_id is None:
        raise AccountingError(f"{path}: no worker has used it, it has no file {identity.NAME}")
    identity.require_partition(path, partition)
    return directory_id


def _lost_identity(at: DirectorySettings, error: AccountingError) -> Finding | None:
    """Return the finding that accounting files stand in a directory that does not know who it is."""
    if isinstance(error, OtherPartition) or not (ids := sorted(directory_ids(at))):
        return None
    told = f"{error}; files of the directory {', '.join(ids)} stand here, and are not looked at"
    return Finding(kind=Kind.IDENTITY, file=str(at.path), text=f"{told}: `haraka-accounting directory adopt`")


def _counts(settings: Settings, shelves: _Shelves, known: Known) -> Report:
    with snapshots(*server_of(settings)) as taken:
        return audit(taken, shelves.open(), known)[0]


def _deep(settings: Settings, shelves: _Shelves, known: Known, options: dict[str, Any]) -> DeepReport:
    question = Question(
        span=span_of(settings, options["start"], options["end"]),
        types=options["types"],
        rows=settings.rows,
        known=known,
    )
    tune_collector()
    return deep_audit(*server_of(settings), shelves.open, question, lambda total: progress("comparing", "rows", total))
