"""Options that commands share, and the server that they lead to."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from config.loader import Loaded, load
from config.places import Purpose
from worker import modes
from worker.commands.terminal import warn
from worker.log import event
from worker.server import BundledServer
from worker.settings import Settings
from worker.stream import Connector
from worker.stream.link import connector
from worker.stream.loading import patient

_log = logging.getLogger(__name__)

NAME_VARIABLE = "ACCOUNTING_NAME"

_LOADING_SECONDS = 60.0

config_option = click.option(
    "--config", "config_file", envvar="ACCOUNTING_CONFIG", show_envvar=True, metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The ini file. Without it, ./accounting_files.ini where there is one, else all defaults.",
)  # fmt: skip
redis_option = click.option(
    "--redis", "redis_url", envvar="ACCOUNTING_REDIS_URL", show_envvar=True, metavar="URL",
    help="The Redis or Valkey server. Without any, `work` starts the bundled Valkey.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Server(NamedTuple):
    """Where the partition is."""

    connect: Connector
    partition: str


def load_settings(
    config_file: Path | None, redis_url: str | None, name: str | None, purpose: Purpose = Purpose.READ
) -> Loaded:
    """Return the settings, say what is unwise about them, and take their umask. Raises ConfigError."""
    loaded = load(config_file, redis_url=redis_url, name=name, purpose=purpose)
    modes.take(group_readable=loaded.settings.directory.group_readable)
    for warning in loaded.warnings:
        event(_log, "config.warning", logging.WARNING, what=warning)
    return loaded


def server_of(settings: Settings) -> Server:
    """Return the configured server, or the bundled one; one that is loading its data is waited for, and that is told.

    A worker waits in its own way, which a stop ends.
    """
    connect, partition = server_now(settings)
    return Server(patient(connect, partition, _LOADING_SECONDS, _tell_loading), partition)


def server_now(settings: Settings) -> Server:
    """Return the configured server, or the bundled one, without any patience."""
    url = settings.stream.url or BundledServer(settings.server).url
    return Server(connector(settings.stream, url), settings.stream.partition)


def _tell_loading() -> None:
    warn("the server is loading its data: waiting")


def on_server(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name the server, and the server itself as its first argument."""

    @config_option
    @redis_option
    @functools.wraps(command)
    def run(config_file: Path | None, redis_url: str | None, **options: Any) -> None:  # noqa: ANN401 - click's
        command(server_of(load_settings(config_file, redis_url, None).settings), **options)

    return run
