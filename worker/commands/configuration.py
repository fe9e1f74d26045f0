"""`haraka-accounting config check`: everything that is wrong with an ini, and what it would meet on this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from config.loader import check
from worker.commands.terminal import tell
from worker.errors import AccountingError, ExitCode
from worker.identity import require_partition
from worker.server import BundledServer
from worker.settings import Settings


@click.group(name="config")
def config_group() -> None:
    """Look at configuration files."""


@config_group.command(name="check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def config_check(file: Path) -> None:
    """Print every problem of an ini file at once; exit code 78 where there is one."""
    report = check(file)
    for warning in report.warnings:
        tell(f"warning: {warning}")
    problems = [*map(str, report.problems), *(_of_the_moment(report.settings) if report.settings else ())]
    for problem in problems:
        tell(f"error: {problem}")
    if problems:
        sys.exit(ExitCode.CONFIGURATION)
    tell(f"{file}: ok")


def _of_the_moment(settings: Settings) -> Iterator[str]:
    """Yield what a worker would end with if it were started now."""
    path = settings.directory.path
    try:
        require_partition(path, settings.stream.partition)
    except (AccountingError, OSError) as error:
        yield str(error)
    server = BundledServer(settings.server)
    if settings.stream.url is None and server.is_port_taken():
        yield f"[server] port: {settings.server.port} is taken by another program: expected one that is free"
