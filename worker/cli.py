"""The command line `haraka-accounting`. It and its commands alone read the configuration and set exit codes."""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from config.places import Purpose
from config.problem import ConfigError
from worker import __version__, locks, log, modes
from worker.assembly import build_worker, tune_collector
from worker.commands import streams
from worker.commands.audit import audit_command
from worker.commands.configuration import config_group
from worker.commands.dead import dead_group
from worker.commands.directory import directory_group
from worker.commands.find import find_command
from worker.commands.forget import forget_command
from worker.commands.options import NAME_VARIABLE, server_of
from worker.commands.options import config_option as _config
from worker.commands.options import load_settings as _load
from worker.commands.options import redis_option as _redis
from worker.commands.producers import producers_command
from worker.commands.replay import replay_command
from worker.commands.rotate import rotate_command
from worker.commands.status import status_command
from worker.commands.tail import tail_command
from worker.commands.terminal import tell
from worker.commands.tidy import tidy_command
from worker.commands.verify import verify_command
from worker.errors import AccountingError, ExitCode
from worker.inventory import places
from worker.log import event
from worker.loop import Worker
from worker.server import BundledServer
from worker.settings import Settings
from worker.stream.retirement import RETIRED, retire

_log = logging.getLogger(__name__)

_PROGRAM = "haraka-accounting"
_COMPLETION = "_HARAKA_ACCOUNTING_COMPLETE"
_BY_CTRL_C = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=_PROGRAM)
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
    settings = _load(config_file, redis_url, name, Purpose.WORK).settings
    with _server_url(settings) as url:
        worker = build_worker(settings, url)
        _tell_exposed(settings)
        _heed_signals(worker)
        tune_collector()
        worker.run()


def _names(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what is no text: no consumer of ours can be called so."""
    for value in values:
        if not value.isprintable():
            raise click.BadParameter(f"{value!r}: expected the name of a consumer")
    return values


@cli.command(name="retire")
@_config
@_redis
@click.argument("consumers", nargs=-1, required=True, callback=_names)
def retire_command(config_file: Path | None, redis_url: str | None, consumers: tuple[str, ...]) -> None:
    """Remove consumers that will not come back; one with pending entries or unsealed files stays."""
    server = server_of(_load(config_file, redis_url, None).settings)
    answers = set()
    for name in consumers:
        answers.add(answer := retire(*server, name))
        tell(f"{name}: {answer}")
    if answers != {RETIRED}:
        sys.exit(ExitCode.FAILED)


@contextmanager
def _server_url(settings: Settings) -> Iterator[str]:
    """Yield the server's URL; without a configured one, that of the bundled server, which is stopped at the end."""
    if settings.stream.url is not None:
        yield settings.stream.url
        return
    server = BundledServer(settings.server)
    server.start()
    event(
        _log, "server.ready", url=server.url_for_haraka, password_file=server.password_file, started=server.is_mine,
        use="url and password_file below [redis] in Haraka's accounting_stream.ini",
    )  # fmt: skip
    try:
        yield server.url
    finally:
        server.stop()


def _tell_exposed(settings: Settings) -> None:
    """Say which directories other users can look into or change: whose they are, their modes are not changed here."""
    path = settings.directory.path
    inside = [directory for place in places(settings.directory) for directory in place.directories]
    for directory, what in modes.exposed(path, dict.fromkeys(inside)):
        event(_log, "directory.exposed", logging.WARNING, directory=directory, what=what, expected="0700, or 0750")


def _heed_signals(worker: Worker) -> None:
    """Let SIGTERM and SIGINT stop the worker, a second one end the process at once, and SIGHUP rotate its files."""

    def stop(number: int, _frame: FrameType | None) -> None:
        locks.stop_waiting()
        worker.stop()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda _number, _frame: worker.rotate())


for command in (
    audit_command, config_group, dead_group, directory_group, find_command, forget_command, producers_command,
    replay_command, rotate_command, status_command, tail_command, tidy_command, verify_command,
):  # fmt: skip
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line; every expected error is one line on standard error and an exit code of its own."""
    streams.prepare()
    threading.excepthook = lambda dead: log.died(*dead[:3])
    modes.take(group_readable=False)  # until the configuration says otherwise
    try:
        code = run()
        streams.flush()
    except BrokenPipeError:
        streams.end_by_pipe()
    except OSError as error:
        code = _fail(ExitCode.UNAVAILABLE, f"standard output: {error.strerror}")
    streams.give_up()
    sys.exit(code)


def run() -> int:
    """Run the command; returns the exit code. Raises BrokenPipeError where nobody reads on."""
    try:
        _invoke()
    except click.exceptions.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except click.ClickException as error:
        shown = StringIO()
        error.show(file=shown)
        return _fail(error.exit_code, *shown.getvalue().rstrip("\n").split("\n"), prefix="")
    except click.Abort:
        return _fail(ExitCode.FAILED, "aborted")
    except KeyboardInterrupt:
        return _fail(_BY_CTRL_C, "interrupted")
    except Exception as error:  # noqa: BLE001 - the one place that knows what each of them is to the caller
        return _told(error)
    return ExitCode.OK


def _told(error: Exception) -> int:
    """Say what went wrong; returns the exit code. Raises BrokenPipeError, likewise."""
    match error:
        case ConfigError():
            return _fail(ExitCode.CONFIGURATION, *map(str, error.problems))
        case AccountingError():
            return _fail(error.exit_code, str(error))
        case BrokenPipeError():
            raise error
        case OSError():
            place = f"{error.filename}: " if error.filename is not None else ""
            return _fail(ExitCode.UNAVAILABLE, f"{place}{error.strerror or error}")
        case _:  # a bug: what can be expected has an error of its own
            log.unexpected(error)
            what = f"{type(error).__name__}: {error}"
            return _fail(ExitCode.BUG, f"unexpected {what} (at {_frames(error)}); -v tells more")


def _invoke() -> None:
    """Let click run the command, but not end it: it would take a reader that has gone for a failure."""
    if _COMPLETION in os.environ:
        cli.main(prog_name=_PROGRAM)  # a shell asks what could be typed
    with cli.make_context(_PROGRAM, sys.argv[1:], color=False if streams.is_plain() else None) as context:
        cli.invoke(context)


def _fail(code: int, *lines: str, prefix: str = f"{_PROGRAM}: ") -> int:
    """Say something on standard error; returns the exit code."""
    with suppress(OSError):  # nobody reads it: the code still tells
        for line in lines:
            tell(f"{prefix}{line}", err=True)
    return code


def _frames(error: BaseException) -> str:
    """Return where an error came from, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)


if __name__ == "__main__":
    main()
