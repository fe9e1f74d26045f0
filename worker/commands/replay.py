"""`haraka-accounting replay`: a range of the streams, or what was kept of one, written once more."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from worker.assembly import tune_collector
from worker.commands import terminal
from worker.commands.live import rewind_live
from worker.commands.options import Server, config_option, json_option, load_settings, redis_option, server_of
from worker.commands.progress import progress
from worker.commands.replayed import Report, warn_ahead
from worker.commands.spans import span_of, types_option, words
from worker.replay import letters
from worker.replay.exports import STANDARD, Export, ExportSource
from worker.replay.job import Replay
from worker.replay.letters import LetterSource
from worker.replay.output import target
from worker.replay.recipients import only_domains
from worker.replay.sources import Source, StreamSource
from worker.replay.span import Span, is_time
from worker.settings import Settings
from worker.stream.clock import ServerClock, read_clock
from worker.stream.dead_letters import dead_letters
from worker.stream.ranges import ranges


class Request(NamedTuple):
    """What is asked for, of whom."""

    settings: Settings
    server: Server
    types: Sequence[str]
    span: Span
    sources: Sequence[str]  # empty: the streams
    acknowledged: bool  # of these, only what workers have written
    clock: ServerClock | None  # the server's, where the streams are read
    ends_by_time: bool

    def report(self, source: Source) -> Report:
        """Return what tells what came of a source."""
        ahead = [each for each in (self.clock.ahead if self.clock else ()) if each.type in self.types]
        return Report(source, self.span, ahead, ends_by_time=self.ends_by_time)


@click.command(name="replay")
@config_option
@redis_option
@click.option("--from", "start", metavar="TIME|ID", help="Where it begins: the first entry that arrived then or later.")
@click.option(
    "--to", "end", metavar="TIME|ID", default="+",
    help="Where it ends: before a time, with an id. Default: the last entry that there is now.",
)  # fmt: skip
@types_option
@click.option(
    "--recipient-domain", "domains", multiple=True, metavar="DOMAIN,…", callback=words,
    help="Only rows of recipients in exactly this domain, in any spelling of it.",
)  # fmt: skip
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write the files here.")
@click.option("--export", "export_to", metavar="FILE", help="Write the entries as NDJSON; - is standard output.")
@click.option("--acknowledged", is_flag=True, help="Leave out what no worker has written yet: unread or pending.")
@click.option("--from-archive", is_flag=True, help="Read SOURCE… (NDJSON, - is standard input; or dead), not streams.")
@click.option("--live", is_flag=True, help="Let the workers write everything since --from again. Asks first.")
@click.option("--yes", is_flag=True, help="With --live: do not ask.")
@json_option
@click.argument("sources", nargs=-1, metavar="[SOURCE…]")
def replay_command(config_file: Path | None, redis_url: str | None, **options: Any) -> None:  # noqa: ANN401 - click's
    """Write a range of the streams, or an export of one, as accounting files once more.

    With --into, files like those of the workers, the same for the same range and configuration on any day; nothing on
    the server changes, and no file is replaced. TIME is ISO 8601 (in the configured time zone, or with one of its own)
    or as long ago as 90m, 2h, 7d; ID is a stream id such as 1795373309671-0; - and + are the ends of the stream. Exit
    code 1 also where events of the range were trimmed or deleted before they could be read: what is left is written.
    """
    _check(options)
    request = _request(load_settings(config_file, redis_url, None).settings, options)
    if options["live"]:
        warn_ahead(request.clock.ahead if request.clock else (), request.types)
        rewind_live(request.settings, request.types, request.span, yes=options["yes"], as_json=options["as_json"])
        return
    tune_collector()
    if options["export_to"]:
        _export(request, options["export_to"], as_json=options["as_json"])
    else:
        _write(request, options["into"], options["domains"], as_json=options["as_json"])


def _request(settings: Settings, options: dict[str, Any]) -> Request:
    server, ends = server_of(settings), (options["start"], options["end"])
    span, clock = span_of(settings, *ends), None
    if not options["sources"]:
        clock = read_clock(*server)
        span = span_of(settings, *ends, clock.now_ms)
    return Request(
        settings, server, options["types"], span, options["sources"], options["acknowledged"], clock,
        is_time(options["end"]),
    )  # fmt: skip


def _check(options: dict[str, Any]) -> None:
    """Raise UsageError for options that do not go together."""
    chosen = [name for name in ("into", "export_to", "live") if options[name]]
    if len(chosen) != 1:
        raise click.UsageError("expected one of --into DIR, --export FILE and --live")
    if bool(options["sources"]) != options["from_archive"]:
        raise click.UsageError("expected SOURCE… with --from-archive, and only there: NDJSON files, or the word dead")
    if options["from_archive"] and not options["into"]:
        raise click.UsageError("--from-archive goes with --into")
    if letters.SOURCE in options["sources"] and len(options["sources"]) > 1:
        raise click.UsageError(f"{letters.SOURCE} is a source of its own; a file of that name is ./{letters.SOURCE}")
    if options["start"] is None and not options["from_archive"]:
        raise click.UsageError("expected --from TIME or ID; - is the beginning of the stream")
    if options["domains"] and not options["into"]:
        raise click.UsageError("--recipient-domain goes with --into")
    if options["live"] and options["end"] != "+":
        raise click.UsageError("--to does not go with --live: everything since --from is delivered again")
    if options["acknowledged"] and (options["live"] or options["from_archive"]):
        raise click.UsageError("--acknowledged is about a range of the streams, read with --into or --export")
    if options["yes"] and not options["live"]:
        raise click.UsageError("--yes goes with --live")


def _write(request: Request, into: Path, domains: Sequence[str], *, as_json: bool) -> None:
    with target(into), _opened(request) as source:
        replay = Replay(request.settings, into, only_domains(domains) if domains else None)
        with progress("replaying", "events", source.total) as tell:
            for done in replay.run(source):
                tell(done, replay.tally.events)
        request.report(source).show(replay.tally, as_json=as_json)


def _export(request: Request, to: str, *, as_json: bool) -> None:
    if not Path(to).name:
        raise click.UsageError("--export: expected the name of a file")
    with _opened(request) as source:
        export = Export(source)
        is_hidden = to == STANDARD and terminal.is_shown()
        with progress("exporting", "entries", source.total, is_hidden=is_hidden) as tell:
            for done in export.run(to, terminal.hand_on):
                tell(done, export.entries)
        request.report(source).show_export(export, to, as_json=as_json, err=to == STANDARD)


@contextmanager
def _opened(request: Request) -> Iterator[Source]:
    """Yield the source that is asked for."""
    if not request.sources:
        with ranges(*request.server) as found:
            yield StreamSource(found, request.types, request.span, acknowledged=request.acknowledged)
    elif request.sources == (letters.SOURCE,):
        with dead_letters(*request.server) as dead:
            source = LetterSource(dead, request.types, request.span)
            if source.foreign:
                terminal.tell(f"left out {source.foreign} dead letters that belong to no stream", err=True)
            yield source
    else:
        yield ExportSource(request.sources, request.types, request.span)
