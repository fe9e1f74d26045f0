"""The command line `haraka-accounting`. It and its commands alone read the configuration and set exit codes."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from config.loader import check
from config.problem import ConfigError
from worker import __version__, log
from worker.assembly import build_worker, tune_collector
from worker.commands.audit import audit_command
from worker.commands.dead import dead_group
from worker.commands.find import find_command
from worker.commands.options import NAME_VARIABLE
from worker.commands.options import config_option as _config
from worker.commands.options import load_settings as _load
from worker.commands.options import redis_option as _redis
from worker.commands.producers import producers_command
from worker.commands.replay import replay_command
from worker.commands.rotate import rotate_command
from worker.commands.status import status_command
from worker.commands.tail import tail_command
from worker.commands.tidy import tidy_command
from worker.commands.verify import verify_command
from worker.errors import AccountingError, ExitCode
from worker.log import event
from worker.loop import Worker
from worker.server import BundledServer
from worker.settings import Settings
from worker.stream.link import connector
from worker.stream.retirement import RETIRED, retire

_log = logging.getLogger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="haraka-accounting")
@click.option("-v", "--verbose", is_flag=True, help="Log at DEBUG.")
def cli(*, verbose: bool) -> None:
    """Accounting files for fleets of Haraka: one row per recipient, exactly once."""
    log.set_up(verbose=verbose)


@cli.command()
@_config
@_redis
@click.option(
    "--name", envvar=NAME_VARIABLE, show_envvar=True, metavar="CONSUMER",
    help="Name of this consumer, the same at every start. Default: host name and slot.",
)  # fmt: skip
def work(config_file: Path | None, redis_url: str | None, name: str | None) -> None:
    """Write accounting files until stopped (SIGTERM or SIGINT; a second one ends at once)."""
    loaded = _load(config_file, redis_url, name)
    settings = loaded.settings
    with _server_url(settings) as url:
        worker = build_worker(settings, url)
        _heed_signals(worker)
        tune_collector()
        worker.run()


@cli.command(name="retire")
@_config
@_redis
@click.argument("consumers", nargs=-1, required=True)
def retire_command(config_file: Path | None, redis_url: str | None, consumers: tuple[str, ...]) -> None:
    """Remove consumers that will not come back; one with pending entries or unsealed files stays."""
    settings = _load(config_file, redis_url, None).settings
    url = settings.stream.url or BundledServer(settings.server).url
    answers = {name: retire(connector(settings.stream, url), settings.stream.partition, name) for name in consumers}
    for name, answer in answers.items():
        click.echo(f"{name}: {answer}")
    if set(answers.values()) != {RETIRED}:
        sys.exit(ExitCode.FAILED)


@cli.group(name="config")
def config_group() -> None:
    """Look at configuration files."""


@config_group.command(name="check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def config_check(file: Path) -> None:
    """Print every problem of an ini file at once; exit code 78 where there is one."""
    report = check(file)
    for warning in report.warnings:
        click.echo(f"warning: {warning}")
    for problem in report.problems:
        click.echo(f"error: {problem}")
    if report.problems:
        sys.exit(ExitCode.CONFIGURATION)
    click.echo(f"{file}: ok")


@contextmanager
def _server_url(settings: Settings) -> Iterator[str]:
    """Yield the server's URL; without a configured one, that of the bundled server, which is stopped at the end."""
    if settings.stream.url is not None:
        yield settings.stream.url
        return
    server = BundledServer(settings.server)
    server.start()
    event(_log, "server.ready", url=server.url, started=server.is_mine, use="this URL in Haraka's redis.ini")
    try:
        yield server.url
    finally:
        server.stop()


def _heed_signals(worker: Worker) -> None:
    """Let SIGTERM and SIGINT stop the worker, a second one end the process at once, and SIGHUP rotate its files."""

    def stop(number: int, _frame: FrameType | None) -> None:
        worker.stop()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda _number, _frame: worker.rotate())


cli.add_command(audit_command)
cli.add_command(dead_group)
cli.add_command(find_command)
cli.add_command(producers_command)
cli.add_command(replay_command)
cli.add_command(rotate_command)
cli.add_command(status_command)
cli.add_command(tidy_command)
cli.add_command(tail_command)
cli.add_command(verify_command)


def _fail(code: int, message: str) -> NoReturn:
    click.echo(f"haraka-accounting: {message}", err=True)
    sys.exit(code)


def main() -> None:
    """Run the command line; every expected error is one line on standard error and an exit code of its own."""
    try:
        cli()
    except ConfigError as error:
        _fail(ExitCode.CONFIGURATION, str(error))
    except AccountingError as error:
        _fail(error.exit_code, str(error))


if __name__ == "__main__":
    main()
